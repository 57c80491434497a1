// The page's own words, in its languages.
#pragma once

#include <string>

namespace retort {

struct Words {
  const char* html_language;
  const char *results, *comparisons, *curves, *samples, *heatmaps, *configuration, *machine, *notes;
  const char *name, *difference, *interval, *interval_note, *significant, *not_significant;
  const char *source, *reference, *higher_is_better, *lower_is_better, *best_note, *show_recipe, *step,
      *no_output, *made_by;
};

// "en" or "zh"; throws Error for another.
const Words& words_for(const std::string& language);

}  // namespace retort
