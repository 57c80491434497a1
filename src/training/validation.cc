#include "training/validation.h"

#include "objective/objective.h"

namespace retort {

Likelihood likelihood(const CausalLM& model, const ExampleStore& store, std::int64_t batch_tokens) {
  const at::NoGradGuard no_grad;
  Objective cross_entropy = make_objective(Json::array({{{"name", "cross_entropy"}}}), "validation");
  const auto source =
      pack_examples(store, {.batch_tokens = batch_tokens, .shuffle = false, .epochs = 1, .seed = 0});
  at::Tensor nats = at::zeros({}, at::TensorOptions(model.device()).dtype(at::kDouble));
  Likelihood result;
  while (const std::optional<Batch> batch = source->next()) {
    const DeviceBatch here = upload(*batch, model.device());
    const ModelOutput output = model.forward(here, {}, {.targets_only = true});
    const ObjectiveResult loss =
        cross_entropy.compute({.batch = here, .student = model, .student_output = output});
    nats = nats + loss.terms.front().sum.to(at::kDouble);
    result.target_tokens += batch->target_count();
  }
  result.nats = nats.item<double>();
  return result;
}

double mean_kl(const CausalLM& model, const CausalLM& from, const std::vector<Batch>& batches) {
  const at::NoGradGuard no_grad;
  Objective forward_kl = make_objective(Json::array({{{"name", "forward_kl"}}}), "mean_kl");
  double sum = 0, weight = 0;
  for (const Batch& batch : batches) {
    const DeviceBatch here = upload(batch, model.device());
    const ModelOutput output = model.forward(here, {}, {.targets_only = true}),
                      other = from.forward(here, {}, {.targets_only = true});
    const ObjectiveResult result = forward_kl.compute({.batch = here,
                                                       .student = model,
                                                       .student_output = output,
                                                       .teacher = &from,
                                                       .teacher_output = &other});
    sum += result.terms.front().sum.item<double>();
    weight += result.total.weight;
  }
  return weight > 0 ? sum / weight : 0;
}

}  // namespace retort
