#include "runtime/kernels/multiply.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"

namespace retort {
namespace {

// A piece of work: so many bytes of weights that starting to read them costs little, as many pieces for each
// thread, and for many activation rows smaller ones, so that all threads finish together.
constexpr std::int64_t kPieceBytes = 256 << 10, kManyRows = 24;

std::int64_t panels_in_piece(const WeightMatrix& weights, const PanelJob& job, int threads) {
  const std::int64_t panels = weights.panel_count();
  if (job.out_rows != nullptr) {  // tiles: the more, the longer activations stay in the second cache
    const std::int64_t most = job.store == Store::gated ? kTileJobPanels / 2 : kTileJobPanels;
    return std::clamp<std::int64_t>(panels / (2 * threads) / 2 * 2, 2, most);
  }
  if (job.n >= kManyRows) return 2;
  const std::int64_t bytes = panels * weights.panel_bytes();
  const std::int64_t pieces = threads * std::max<std::int64_t>(1, bytes / (threads * kPieceBytes));
  return ((panels + pieces - 1) / pieces + 1) / 2 * 2;
}

PanelJob job_of(const WeightMatrix& weights, const Activations& x) {
  if (weights.columns() != x.columns())
    throw Error({.where = "multiply",
                 .found = fmt::format("{} activations a row", x.columns()),
                 .expected = fmt::format("{}, the columns of the weights", weights.columns())},
                ErrorKind::failure);
  PanelJob job;
  job.weights = weights.panels();
  job.panel_bytes = weights.panel_bytes();
  job.chunks = weights.chunks();
  job.rows = weights.rows();
  job.factor = weights.factor();
  if (!weights.row_scales().empty()) job.row_scales = weights.row_scales().data();
  return job;
}

struct Pieces {
  PanelJob job;
  void (*multiply)(const PanelJob&);
  std::int64_t panels, grain, end;  // end: of this product's pieces, counted over all products
};

void run(std::span<const Pieces> products, ThreadPool& pool) {
  pool.parallel_for(products.back().end, 1, [&](std::int64_t begin, std::int64_t end, int) {
    thread_local AlignedBuffer scratch;  // kept from product to product
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const auto product =
          std::find_if(products.begin(), products.end(), [&](const Pieces& p) { return piece < p.end; });
      const std::int64_t before = product == products.begin() ? 0 : std::prev(product)->end;
      PanelJob job = product->job;
      job.first_panel = (piece - before) * product->grain;
      job.last_panel = std::min(job.first_panel + product->grain, product->panels);
      if (job.out_rows != nullptr) {
        scratch.reserve(kTileJobPanels / 2 * kTileJobRows * 2 * kPanelRows * sizeof(float));
        job.scratch = reinterpret_cast<float*>(scratch.data());
      }
      product->multiply(job);
    }
  });
}

// The product in as many jobs as the activations have parts.
void add_pieces(PanelJob job, const WeightMatrix& weights, const Activations& x, const ThreadPool& pool,
                const KernelSet& set, std::vector<Pieces>& all) {
  const auto format = static_cast<std::size_t>(weights.format());
  ActivationForm form = weights.form();
  if (weights.format() == PanelFormat::bf16)
    form = set.bf16_activations ? ActivationForm::bf16 : ActivationForm::f32;
  std::vector<Activations::Part> parts;
  x.parts(form, parts);
  float* const out = job.out;
  for (const Activations::Part& part : parts) {
    job.activations = part.rows.data;
    job.activation_stride = part.rows.stride;
    job.n = part.n;
    job.out = out + part.first * job.out_stride;
    job.out_rows = part.tile_rows;
    Pieces pieces{job, part.tile_rows != nullptr ? set.multiply_tiles[format] : set.multiply[format],
                  weights.panel_count(), panels_in_piece(weights, job, pool.threads()),
                  all.empty() ? 0 : all.back().end};
    pieces.end += (pieces.panels + pieces.grain - 1) / pieces.grain;
    all.push_back(pieces);
  }
}

}  // namespace

void multiply(const Activations& x, std::span<const Product> products, ThreadPool& pool,
              const KernelSet& set) {
  if (products.empty() || x.rows() == 0) return;
  std::vector<Pieces> all;
  for (const Product& product : products) {
    PanelJob job = job_of(*product.weights, x);
    job.out = product.out;
    job.out_stride = product.stride;
    job.bias = product.bias;
    job.store = product.add ? Store::add : Store::replace;
    add_pieces(job, *product.weights, x, pool, set, all);
  }
  run(all, pool);
}

void multiply_gated(const Activations& x, const GatedProduct& product, ThreadPool& pool,
                    const KernelSet& set) {
  if (x.rows() == 0) return;
  const WeightMatrix &gate = *product.gate, &up = *product.up;
  if (gate.rows() != up.rows() || gate.columns() != up.columns())
    throw Error(
        {.where = "gate and up",
         .found = fmt::format("{} × {} and {} × {}", gate.rows(), gate.columns(), up.rows(), up.columns()),
         .expected = "equal shapes"});
  if (gate.format() != up.format()) {  // a mixture of encodings: one after the other
    std::vector<float> gates(static_cast<std::size_t>(x.rows() * gate.rows()));
    const std::array<Product, 2> both = {Product{&gate, gates.data(), gate.rows(), product.gate_bias},
                                         Product{&up, product.out, product.stride, product.up_bias}};
    multiply(x, both, pool, set);
    pool.parallel_for(x.rows(), 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        float* g = gates.data() + t * gate.rows();
        set.activate(product.activation, g, gate.rows());
        float* out = product.out + t * product.stride;
        for (std::int64_t i = 0; i < gate.rows(); ++i) out[i] *= g[i];
      }
    });
    return;
  }
  PanelJob job = job_of(gate, x);
  job.up = up.panels();
  job.up_factor = up.factor();
  if (!up.row_scales().empty()) job.up_row_scales = up.row_scales().data();
  job.out = product.out;
  job.out_stride = product.stride;
  job.bias = product.gate_bias;
  job.up_bias = product.up_bias;
  job.store = Store::gated;
  job.activation = product.activation;
  std::vector<Pieces> pieces;
  add_pieces(job, gate, x, pool, set, pieces);
  run(pieces, pool);
}

}  // namespace retort
