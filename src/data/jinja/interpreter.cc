#include "data/jinja/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/jinja/filters.h"
#include "data/jinja/functions.h"
#include "data/jinja/operators.h"
#include "data/jinja/tests.h"
#include "data/jinja/text.h"

namespace retort::jinja {
namespace {

// Variables of a block; what is not here is looked up around it.
struct Scope {
  Variables variables;
  const Scope* outer = nullptr;

  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->outer)
      for (auto entry = scope->variables.rbegin(); entry != scope->variables.rend(); ++entry)
        if (entry->first == name) return &entry->second;
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [key, held] : variables)
      if (key == name) {
        held = std::move(value);
        return;
      }
    variables.emplace_back(name, std::move(value));
  }
};

enum class Flow { on, leave, proceed };  // after a statement: go on, break, continue

class Interpreter {
 public:
  Interpreter(Runtime& runtime, Variables variables) : runtime_(runtime) {
    root_.variables = std::move(variables);
  }

  std::string render(const Block& block) {
    std::string out;
    run(block, root_, out);
    return out;
  }

 private:
  Flow run(const Block& block, Scope& scope, std::string& out) {
    const Runtime::Level level(runtime_);
    for (const Statement& statement : block) {
      runtime_.spend(1);
      runtime_.at_line(statement.line);
      const Flow flow = run(statement, scope, out);
      if (flow != Flow::on) return flow;
      runtime_.check_output(out.size());
    }
    return Flow::on;
  }

  Flow run(const Statement& statement, Scope& scope, std::string& out) {
    switch (statement.kind) {
      case Statement::Kind::text:
        runtime_.spend_bytes(statement.text.size());
        out += statement.text;
        return Flow::on;
      case Statement::Kind::print: {
        const std::string text = to_text(runtime_, evaluate(*statement.expression, scope));
        runtime_.spend_bytes(text.size());
        out += text;
        return Flow::on;
      }
      case Statement::Kind::branch:
        for (const auto& [condition, body] : statement.branches)
          if (!condition || evaluate(*condition, scope).truthy()) return run(body, scope, out);
        return Flow::on;
      case Statement::Kind::loop:
        return run_loop(statement, scope, out);
      case Statement::Kind::set:
        assign(statement.target, evaluate(*statement.expression, scope), scope);
        return Flow::on;
      case Statement::Kind::set_block:
      case Statement::Kind::filter: {
        std::string text = captured(statement.body, scope);
        Value value = statement.filter ? filter_block(*statement.filter, std::move(text), scope)
                                       : Value(std::move(text));
        if (statement.kind == Statement::Kind::set_block)
          assign(statement.target, std::move(value), scope);
        else
          out += to_text(runtime_, value);
        return Flow::on;
      }
      case Statement::Kind::macro:
        scope.set(statement.text, make_macro(statement, statement.text, scope));
        return Flow::on;
      case Statement::Kind::call: {
        Arguments arguments = arguments_of(*statement.expression, 1, scope);
        arguments.named.emplace_back("caller", make_macro(statement, "caller", scope));
        out += to_text(runtime_, call(evaluate(*statement.expression->children[0], scope), arguments));
        return Flow::on;
      }
      case Statement::Kind::with: {
        Scope inner{{}, &scope};
        for (const auto& [target, expression] : statement.assignments) {
          Value value = evaluate(*expression, scope);
          assign(target, std::move(value), inner);
        }
        return run(statement.body, inner, out);
      }
      case Statement::Kind::leave:
        return Flow::leave;
      case Statement::Kind::proceed:
        return Flow::proceed;
    }
    return Flow::on;
  }

  std::string captured(const Block& body, Scope& scope) {
    Scope inner{{}, &scope};
    std::string text;
    run(body, inner, text);
    runtime_.spend_bytes(text.size());
    return text;
  }

  Flow run_loop(const Statement& loop, Scope& scope, std::string& out) {
    List items = items_of(runtime_, evaluate(*loop.expression, scope));
    if (loop.condition) {
      List kept;
      for (const Value& item : items) {
        Scope inner{{}, &scope};
        assign(loop.target, item, inner);
        if (evaluate(*loop.condition, inner).truthy()) kept.push_back(item);
      }
      items = std::move(kept);
    }
    if (items.empty()) {
      Scope inner{{}, &scope};
      return run(loop.otherwise, inner, out);
    }
    Loop state{Value(std::move(items)), 0};
    const List& all = *state.items.list();
    for (state.index = 0; state.index < all.size(); ++state.index) {
      runtime_.spend(1);
      Scope inner{{}, &scope};
      inner.variables.emplace_back("loop", Value(state));
      assign(loop.target, all[state.index], inner);
      if (run(loop.body, inner, out) == Flow::leave) break;
    }
    return Flow::on;
  }

  void assign(const Target& target, Value value, Scope& scope) {
    if (!target.parts.empty()) {
      const List items = items_of(runtime_, value);
      if (items.size() != target.parts.size())
        runtime_.fail(fmt::format("{} values for {} variables", items.size(), target.parts.size()),
                      "as many");
      for (std::size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i], scope);
    } else if (target.attribute.empty()) {
      scope.set(target.name, std::move(value));
    } else {
      const Value* object = scope.find(target.name);
      Namespace* space = object == nullptr ? nullptr : object->name_space();
      if (space == nullptr) runtime_.fail(fmt::format("an attribute of '{}'", target.name), "a namespace(…)");
      for (auto& [name, held] : space->attributes)
        if (name == target.attribute) {
          held = std::move(value);
          return;
        }
      space->attributes.emplace_back(target.attribute, std::move(value));
    }
  }

  // What a macro sees of the blocks around it is copied: it may be called when they are gone.
  Value make_macro(const Statement& statement, const std::string& name, const Scope& scope) {
    auto seen = std::make_shared<Variables>();
    int nesting = 0;
    for (const Scope* s = &scope; s != &root_; s = s->outer)
      for (const auto& entry : s->variables) {
        seen->insert(seen->begin(), entry);
        nesting = std::max(nesting, entry.second.nesting());
      }
    runtime_.spend(static_cast<std::int64_t>(seen->size()));
    return Function{
        .name = name,
        .call = [this, &statement, seen](
                    Runtime&, const Arguments& arguments) { return run_macro(statement, *seen, arguments); },
        .nesting = nesting};
  }

  Value run_macro(const Statement& macro, const Variables& seen, const Arguments& arguments) {
    const Runtime::Level level(runtime_);
    const int line = runtime_.line();
    runtime_.spend(static_cast<std::int64_t>(seen.size()));
    Scope scope{seen, &root_};
    const std::size_t known = macro.parameters.size();
    List more(arguments.positional.begin() +
                  static_cast<std::ptrdiff_t>(std::min(known, arguments.positional.size())),
              arguments.positional.end());
    Dict named;
    for (const auto& [name, value] : arguments.named) {
      const bool parameter = std::any_of(macro.parameters.begin(), macro.parameters.end(),
                                         [&name = name](const Parameter& p) { return p.name == name; });
      if (name == "caller") scope.set(name, value);
      if (!parameter && name != "caller") named.emplace_back(Value(name), value);
    }
    for (std::size_t i = 0; i < known; ++i) {
      const Parameter& parameter = macro.parameters[i];
      const Value* given = arguments.find(i, parameter.name);
      scope.set(parameter.name, given != nullptr ? *given
                                : parameter.fallback
                                    ? evaluate(*parameter.fallback, scope)
                                    : undefined(fmt::format("no value for parameter '{}'", parameter.name)));
    }
    scope.set("varargs", Value::tuple(std::move(more)));
    scope.set("kwargs", std::move(named));
    std::string out;
    run(macro.body, scope, out);
    runtime_.at_line(line);
    return out;
  }

  Value call(const Value& callee, const Arguments& arguments) {
    if (callee.is_undefined()) fail_undefined(runtime_, callee);
    if (callee.function() == nullptr)
      runtime_.fail(fmt::format("a call of a {}", callee.type_name()), "a function or macro");
    return callee.function()->call(runtime_, arguments);
  }

  Arguments arguments_of(const Node& node, std::size_t first, const Scope& scope) {
    Arguments arguments;
    for (std::size_t i = first; i < node.children.size(); ++i) {
      Value value = evaluate(*node.children[i], scope);
      const auto spread =
          std::find_if(node.spread.begin(), node.spread.end(), [i](const auto& s) { return s.first == i; });
      if (spread == node.spread.end()) {
        arguments.positional.push_back(std::move(value));
      } else if (!spread->second) {
        for (Value& item : items_of(runtime_, value)) arguments.positional.push_back(std::move(item));
      } else {
        if (value.dict() == nullptr) runtime_.fail(fmt::format("** of a {}", value.type_name()), "a map");
        for (const auto& [key, item] : *value.dict())
          arguments.named.emplace_back(expect_text(runtime_, key, "a name"), item);
      }
    }
    for (const auto& [name, value] : node.named) arguments.named.emplace_back(name, evaluate(*value, scope));
    return arguments;
  }

  // {% filter a | b %}: the innermost filter has no value of its own, and takes the block's text.
  Value filter_block(const Node& node, Value text, const Scope& scope) {
    if (node.kind != Node::Kind::filter) runtime_.fail("something else than filters for a block", "filters");
    return filtered(node, node.children[0] ? filter_block(*node.children[0], std::move(text), scope) : text,
                    scope);
  }

  Value filtered(const Node& node, const Value& value, const Scope& scope) {
    const Filter filter = find_filter(node.name);
    if (filter == nullptr) runtime_.fail(fmt::format("the filter '{}'", node.name), "one that Jinja has");
    const Arguments arguments = arguments_of(node, 1, scope);
    runtime_.at_line(node.line);
    return filter(runtime_, value, arguments);
  }

  Value evaluate(const Node& node, const Scope& scope) {
    const Runtime::Level level(runtime_);
    runtime_.spend(1);
    runtime_.at_line(node.line);
    const auto child = [&](std::size_t i) { return evaluate(*node.children[i], scope); };
    switch (node.kind) {
      case Node::Kind::constant:
        return node.value;
      case Node::Kind::variable: {
        if (const Value* found = scope.find(node.name)) return *found;
        if (auto function = find_function(node.name)) return Value(std::move(*function));
        return undefined(fmt::format("'{}', which is not defined", node.name));
      }
      case Node::Kind::list: {
        List items;
        for (std::size_t i = 0; i < node.children.size(); ++i) items.push_back(child(i));
        return node.name.empty() ? Value(std::move(items)) : Value::tuple(std::move(items));
      }
      case Node::Kind::dict:
        return make_dict(node, scope);
      case Node::Kind::negate: {
        const Value value = child(0);
        if (!value.is_number()) return arithmetic(runtime_, node.name, 0, value);  // fails
        return node.name == "+"          ? value
               : value.real() != nullptr ? Value(-*value.real())
                                         : arithmetic(runtime_, "-", 0, value);
      }
      case Node::Kind::invert:
        return !child(0).truthy();
      case Node::Kind::arithmetic: {
        const Value left = child(0);
        return arithmetic(runtime_, node.name, left, child(1));
      }
      case Node::Kind::both: {
        Value left = child(0);
        return left.truthy() ? child(1) : left;
      }
      case Node::Kind::either: {
        Value left = child(0);
        return left.truthy() ? left : child(1);
      }
      case Node::Kind::compare: {
        Value left = child(0);
        for (std::size_t i = 0; i < node.operators.size(); ++i) {
          Value right = child(i + 1);
          if (!compare(runtime_, node.operators[i], left, right)) return false;
          left = std::move(right);
        }
        return true;
      }
      case Node::Kind::conditional:
        if (child(0).truthy()) return child(1);
        return node.children[2] ? child(2) : undefined("the value of an 'if' without 'else'");
      case Node::Kind::attribute:
        return attribute_of(runtime_, child(0), node.name);
      case Node::Kind::item: {
        const Value object = child(0);
        return item_of(runtime_, object, child(1));
      }
      case Node::Kind::slice: {
        const auto part = [&](std::size_t i) { return node.children[i] ? child(i) : Value(); };
        const Value object = child(0), first = part(1), last = part(2);
        return slice_of(runtime_, object, first, last, part(3));
      }
      case Node::Kind::call: {
        const Value callee = child(0);
        const Arguments arguments = arguments_of(node, 1, scope);
        runtime_.at_line(node.line);
        return call(callee, arguments);
      }
      case Node::Kind::filter:
        return filtered(node, child(0), scope);
      case Node::Kind::test:
        return run_test(node, scope);
    }
    return {};
  }

  Value make_dict(const Node& node, const Scope& scope) {
    Dict entries;
    for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
      Value key = evaluate(*node.children[i], scope), value = evaluate(*node.children[i + 1], scope);
      const auto known = std::find_if(entries.begin(), entries.end(),
                                      [&](const auto& entry) { return equal(runtime_, entry.first, key); });
      if (known != entries.end())
        known->second = std::move(value);
      else
        entries.emplace_back(std::move(key), std::move(value));
      runtime_.spend(static_cast<std::int64_t>(entries.size() / 8));
    }
    return entries;
  }

  Value run_test(const Node& node, const Scope& scope) {
    const Value value = evaluate(*node.children[0], scope);
    const Arguments arguments = arguments_of(node, 1, scope);
    runtime_.at_line(node.line);
    const Test test = find_test(node.name);
    if (test == nullptr) runtime_.fail(fmt::format("the test '{}'", node.name), "one that Jinja has");
    return test(runtime_, value, arguments);
  }

  Runtime& runtime_;
  Scope root_;
};

}  // namespace

std::string render(const Block& block, Variables variables, Runtime& runtime) {
  return Interpreter(runtime, std::move(variables)).render(block);
}

}  // namespace retort::jinja
