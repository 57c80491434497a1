// The filters that go through lists and maps.
#pragma once

#include "data/jinja/runtime.h"
#include "data/jinja/value.h"

namespace retort::jinja {

Value batch_filter(Runtime&, const Value&, const Arguments&);
Value dictsort_filter(Runtime&, const Value&, const Arguments&);
Value first_filter(Runtime&, const Value&, const Arguments&);
Value groupby_filter(Runtime&, const Value&, const Arguments&);
Value items_filter(Runtime&, const Value&, const Arguments&);
Value join_filter(Runtime&, const Value&, const Arguments&);
Value last_filter(Runtime&, const Value&, const Arguments&);
Value map_filter(Runtime&, const Value&, const Arguments&);
Value max_filter(Runtime&, const Value&, const Arguments&);
Value min_filter(Runtime&, const Value&, const Arguments&);
Value reject_filter(Runtime&, const Value&, const Arguments&);
Value rejectattr_filter(Runtime&, const Value&, const Arguments&);
Value reverse_filter(Runtime&, const Value&, const Arguments&);
Value select_filter(Runtime&, const Value&, const Arguments&);
Value selectattr_filter(Runtime&, const Value&, const Arguments&);
Value slice_filter(Runtime&, const Value&, const Arguments&);
Value sort_filter(Runtime&, const Value&, const Arguments&);
Value sum_filter(Runtime&, const Value&, const Arguments&);
Value unique_filter(Runtime&, const Value&, const Arguments&);

}  // namespace retort::jinja
