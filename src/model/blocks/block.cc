#include "model/blocks/block.h"

#include "model/kernels/launch.h"

namespace retort {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A block's run as a value that the graph can hold.
struct Recipe : torch::CustomClassHolder {
  Recipe(const Block& block, std::shared_ptr<const AttentionPath> path, const Dropout& dropout,
         at::Tensor rows)
      : block(block), path(std::move(path)), dropout(dropout), rows(std::move(rows)) {}
  const Block& block;
  std::shared_ptr<const AttentionPath> path;
  Dropout dropout;
  at::Tensor rows;

  variable_list run(const at::Tensor& residual, const at::Tensor& branch) const {
    at::Tensor sum;
    Stream out = block({residual, branch}, *path, dropout, sum, rows);
    return {out.residual, out.branch, sum};
  }
};

struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& residual,
                               const std::optional<at::Tensor>& branch, at::TensorList leaves,
                               const c10::intrusive_ptr<Recipe>& recipe) {
    variable_list saved{residual, tensor_of(branch)};
    saved.insert(saved.end(), leaves.begin(), leaves.end());
    ctx->save_for_backward(saved);
    ctx->set_materialize_grads(false);
    ctx->saved_data["recipe"] = c10::IValue::make_capsule(recipe);
    variable_list out = recipe->run(residual, tensor_of(branch));
    if (!branch) out.pop_back();  // the sum is the residual itself
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto recipe = c10::static_intrusive_pointer_cast<Recipe>(ctx->saved_data["recipe"].toCapsule());
    const at::AutoGradMode enable(true);
    const auto leaf = [](const at::Tensor& x) { return x.defined() ? x.detach().requires_grad_() : x; };
    const at::Tensor residual = leaf(saved[0]), branch = leaf(saved[1]);
    const variable_list out = recipe->run(residual, branch);
    variable_list outputs, output_grads, inputs{residual};
    for (std::size_t i = 0; i < grads.size(); ++i)
      if (grads[i].defined()) {
        outputs.push_back(out[i]);
        output_grads.push_back(grads[i]);
      }
    if (branch.defined()) inputs.push_back(branch);
    for (std::size_t i = 2; i < saved.size(); ++i)
      if (saved[i].requires_grad()) inputs.push_back(saved[i]);
    const variable_list found = torch::autograd::grad(outputs, inputs, output_grads, /*retain_graph=*/false,
                                                      /*create_graph=*/false, /*allow_unused=*/true);
    variable_list result(saved.size() + 1);
    std::size_t next = 0;
    result[0] = found[next++];
    if (branch.defined()) result[1] = found[next++];
    for (std::size_t i = 2; i < saved.size(); ++i)
      if (saved[i].requires_grad()) result[i] = found[next++];
    return result;
  }
};

}  // namespace

Stream Block::operator()(const Stream& in, const AttentionPath& path, const Dropout& dropout, at::Tensor& sum,
                         const at::Tensor& rows) const {
  const auto layer = static_cast<std::uint32_t>(attention.layer.index);
  // Branch 0 is the embedding's; layer i adds 2i + 1 (attention) and 2i + 2 (MLP).
  const Residual before = add_norm(in.residual, in.branch, input_norm, dropout.branch(2 * layer));
  sum = before.sum;
  const at::Tensor residual = rows.defined() ? before.sum.index_select(0, rows) : before.sum;
  const Residual middle = add_norm(residual, attention(before.normed, path, dropout, rows), post_norm,
                                   dropout.branch(2 * layer + 1));
  return {middle.sum, mlp(middle.normed, dropout)};
}

std::vector<at::Tensor> Block::leaves() const {
  std::vector<at::Tensor> all;
  input_norm.append_leaves(all);
  attention.qkv.append_leaves(all);
  if (attention.q_norm.weight.defined()) {
    attention.q_norm.append_leaves(all);
    attention.k_norm.append_leaves(all);
  }
  attention.output.append_leaves(all);
  post_norm.append_leaves(all);
  mlp.expand.append_leaves(all);
  mlp.down.append_leaves(all);
  return all;
}

Stream run_checkpointed(const Block& block, const Stream& in, std::shared_ptr<const AttentionPath> path,
                        const Dropout& dropout, at::Tensor& sum, const at::Tensor& rows) {
  if (!at::GradMode::is_enabled()) return block(in, *path, dropout, sum, rows);
  const auto recipe = c10::make_intrusive<Recipe>(block, std::move(path), dropout, rows);
  std::vector<at::Tensor> leaves = block.leaves();
  recipe->path->append_leaves(block.attention.layer.index, leaves);
  const variable_list out =
      CheckpointFunction::apply(in.residual, optional_of(in.branch), at::TensorList(leaves), recipe);
  sum = in.branch.defined() ? out[2] : in.residual;
  return {out[0], out[1]};
}

}  // namespace retort
