// The page's style sheet.
#pragma once

namespace retort {

extern const char* const kReportStyle;

}  // namespace retort
