#include "report/words.h"

#include "base/error.h"

namespace retort {
namespace {

constexpr Words kEnglish = {
    .html_language = "en",
    .results = "Results",
    .comparisons = "Comparisons",
    .curves = "Training curves",
    .samples = "Sample outputs",
    .heatmaps = "Similarity maps",
    .configuration = "Configuration",
    .machine = "Machine",
    .notes = "Notes",
    .name = "Model",
    .difference = "Comparison",
    .interval = "95 % interval",
    .interval_note =
        "Paired bootstrap over the same sentences: an interval that leaves out zero is a difference to "
        "believe.",
    .significant = "clear",
    .not_significant = "not clear",
    .source = "Source",
    .reference = "Reference",
    .higher_is_better = "higher is better",
    .lower_is_better = "lower is better",
    .best_note = "The best value of a column is set off. Small print: 95 % interval.",
    .show_recipe = "Resolved recipe",
    .step = "step",
    .no_output = "no output",
    .made_by = "Made by Retort",
};

constexpr Words kChinese = {
    .html_language = "zh-Hans",
    .results = "结果",
    .comparisons = "对比",
    .curves = "训练曲线",
    .samples = "输出样例",
    .heatmaps = "相似度图",
    .configuration = "配置",
    .machine = "运行环境",
    .notes = "说明",
    .name = "模型",
    .difference = "对比项",
    .interval = "95% 置信区间",
    .interval_note = "在相同句子上做配对自助重采样：区间不含零，差异才可信。",
    .significant = "差异明确",
    .not_significant = "差异不明确",
    .source = "原文",
    .reference = "参考答案",
    .higher_is_better = "越高越好",
    .lower_is_better = "越低越好",
    .best_note = "每列最优值已突出显示；小字为 95% 置信区间。",
    .show_recipe = "完整配方",
    .step = "步",
    .no_output = "无输出",
    .made_by = "由 Retort 生成",
};

}  // namespace

const Words& words_for(const std::string& language) {
  if (language == "en") return kEnglish;
  if (language == "zh") return kChinese;
  throw Error({.where = "report language", .found = language, .expected = "en or zh"});
}

}  // namespace retort
