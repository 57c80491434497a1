#include "objective/terms/forward_kl.h"

#include "base/error.h"
#include "objective/traced_kl.h"

namespace retort {

// ∂(τ² KL)/∂z_S = τ (p_S^τ - p_T^τ)
at::Tensor ForwardKl::chunk(const LogitChunk& chunk, double lambda, const at::Tensor& gradient) const {
  return divergence_chunk({}, options_.temperature, chunk, lambda, gradient);
}

std::unique_ptr<LogitTerm> make_forward_kl(const Json& options, const std::string& where,
                                           const TermContext& context) {
  SoftOptions parsed;
  if (context.traces) parsed.temperature = context.traces->manifest().temperature;
  read_term_options(parsed, options, where);
  check_temperature(parsed.temperature, where);
  if (!context.traces) return std::make_unique<ForwardKl>(parsed);
  const double recorded = context.traces->manifest().temperature;
  if (parsed.temperature != recorded)
    throw Error({.where = where + ": temperature",
                 .found = options.at("temperature").dump(),
                 .expected = Json(recorded).dump() + ", at which the traces were recorded",
                 .advice = "Record traces at the temperature that the student is to learn with."});
  return std::make_unique<TracedKl>(context.traces);
}

}  // namespace retort
