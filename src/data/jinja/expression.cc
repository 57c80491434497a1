#include "data/jinja/expression.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>
#include <map>

#include "base/error.h"

namespace retort::jinja {

enum class Kind {
  literal,
  name,
  list,
  dict,
  unary,
  binary,
  conditional,
  attribute,
  index,
  slice,
  call,
  filter,
  test
};

struct Node {
  Kind kind;
  std::string name;  // variable, operator, attribute, filter, test or method
  Json value;
  std::vector<Expression> children;
};

namespace {

constexpr int kMaxDepth = 100;

struct Lexeme {
  enum class Kind { end, name, number, text, sign } kind = Kind::end;
  std::string text;
};

class Parser {
 public:
  Parser(std::string_view text, std::string where) : text_(text), where_(std::move(where)) { advance(); }

  Expression parse_all() {
    Expression result = conditional();
    if (now_.kind != Lexeme::Kind::end) fail();
    return result;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error({.where = where_,
                 .found = "'" + std::string(text_) + "' (stopped at '" + now_.text + "')",
                 .expected = "a Jinja expression",
                 .advice = ""});
  }

  void advance() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    now_ = {};
    if (at_ >= text_.size()) return;
    const char c = text_[at_];
    if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') {
      const std::size_t begin = at_;
      while (at_ < text_.size() &&
             (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_'))
        ++at_;
      now_ = {Lexeme::Kind::name, std::string(text_.substr(begin, at_ - begin))};
    } else if (std::isdigit(static_cast<unsigned char>(c))) {
      const std::size_t begin = at_;
      while (at_ < text_.size() &&
             (std::isdigit(static_cast<unsigned char>(text_[at_])) || text_[at_] == '.'))
        ++at_;
      now_ = {Lexeme::Kind::number, std::string(text_.substr(begin, at_ - begin))};
    } else if (c == '\'' || c == '"') {
      std::string value;
      for (++at_; at_ < text_.size() && text_[at_] != c; ++at_) {
        if (text_[at_] != '\\' || at_ + 1 >= text_.size()) {
          value += text_[at_];
          continue;
        }
        const char escaped = text_[++at_];
        value += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped == 'r' ? '\r' : escaped;
      }
      if (at_ >= text_.size()) fail();
      ++at_;
      now_ = {Lexeme::Kind::text, value};
    } else {
      for (const char* sign : {"==", "!=", "<=", ">=", "//", "**"})
        if (text_.compare(at_, 2, sign) == 0) {
          now_ = {Lexeme::Kind::sign, sign};
          at_ += 2;
          return;
        }
      now_ = {Lexeme::Kind::sign, std::string(1, c)};
      ++at_;
    }
  }

  bool is(std::string_view text) const {
    return (now_.kind == Lexeme::Kind::sign || now_.kind == Lexeme::Kind::name) && now_.text == text;
  }
  bool accept(std::string_view text) {
    if (!is(text)) return false;
    advance();
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text)) fail();
  }
  std::string take_name() {
    if (now_.kind != Lexeme::Kind::name) fail();
    std::string name = now_.text;
    advance();
    return name;
  }
  static Expression make(Kind kind, std::string name, std::vector<Expression> children,
                         Json value = nullptr) {
    return std::make_shared<const Node>(Node{kind, std::move(name), std::move(value), std::move(children)});
  }

  Expression conditional() {
    if (++depth_ > kMaxDepth) fail();
    Expression value = logical_or();
    if (accept("if")) {
      Expression condition = logical_or();
      Expression otherwise = accept("else") ? conditional() : make(Kind::literal, "", {}, undefined());
      value = make(Kind::conditional, "", {condition, value, otherwise});
    }
    --depth_;
    return value;
  }
  Expression logical_or() {
    Expression left = logical_and();
    while (accept("or")) left = make(Kind::binary, "or", {left, logical_and()});
    return left;
  }
  Expression logical_and() {
    Expression left = logical_not();
    while (accept("and")) left = make(Kind::binary, "and", {left, logical_not()});
    return left;
  }
  Expression logical_not() {
    if (!accept("not")) return comparison();
    if (++depth_ > kMaxDepth) fail();
    Expression inner = logical_not();
    --depth_;
    return make(Kind::unary, "not", {inner});
  }
  Expression comparison() {
    Expression left = sum();
    for (;;) {
      std::string op;
      for (const char* candidate : {"==", "!=", "<=", ">=", "<", ">", "in"})
        if (is(candidate)) op = candidate;
      if (is("not")) {
        advance();
        expect("in");
        left = make(Kind::unary, "not", {make(Kind::binary, "in", {left, sum()})});
        continue;
      }
      if (op.empty()) return left;
      advance();
      left = make(Kind::binary, op, {left, sum()});
    }
  }
  Expression sum() {
    Expression left = product();
    for (;;) {
      if (!is("+") && !is("-") && !is("~")) return left;
      const std::string op = now_.text;
      advance();
      left = make(Kind::binary, op, {left, product()});
    }
  }
  Expression product() {
    Expression left = negation();
    for (;;) {
      if (!is("*") && !is("/") && !is("//") && !is("%")) return left;
      const std::string op = now_.text;
      advance();
      left = make(Kind::binary, op, {left, negation()});
    }
  }
  Expression negation() {
    if (!accept("-")) return filtered();
    if (++depth_ > kMaxDepth) fail();
    Expression inner = negation();
    --depth_;
    return make(Kind::unary, "-", {inner});
  }
  Expression filtered() {
    Expression value = postfix(primary());
    for (;;) {
      if (accept("|")) {
        std::string name = take_name();
        std::vector<Expression> children = {value};
        if (accept("(")) arguments(children);
        value = make(Kind::filter, name, children);
      } else if (accept("is")) {
        const bool negated = accept("not");
        value = make(Kind::test, take_name(), {value});
        if (negated) value = make(Kind::unary, "not", {value});
      } else {
        return value;
      }
    }
  }
  void arguments(std::vector<Expression>& children) {  // behind "("
    while (!accept(")")) {
      children.push_back(conditional());
      if (!is(")")) expect(",");
    }
  }
  Expression postfix(Expression value) {
    for (;;) {
      if (accept(".")) {
        std::string name = take_name();
        if (accept("(")) {
          std::vector<Expression> children = {value};
          arguments(children);
          value = make(Kind::call, name, children);
        } else {
          value = make(Kind::attribute, name, {value});
        }
      } else if (accept("[")) {
        const Expression missing = make(Kind::literal, "", {}, nullptr);
        Expression first = is(":") ? missing : conditional();
        if (accept(":")) {
          Expression last = is("]") || is(":") ? missing : conditional();
          Expression step = accept(":") && !is("]") ? conditional() : missing;
          value = make(Kind::slice, "", {value, first, last, step});
        } else {
          value = make(Kind::index, "", {value, first});
        }
        expect("]");
      } else {
        return value;
      }
    }
  }
  Expression primary() {
    if (now_.kind == Lexeme::Kind::number) {
      const std::string digits = now_.text;
      advance();
      if (digits.find('.') != std::string::npos) return make(Kind::literal, "", {}, std::stod(digits));
      std::int64_t whole = 0;
      if (std::from_chars(digits.data(), digits.data() + digits.size(), whole).ec != std::errc()) fail();
      return make(Kind::literal, "", {}, whole);
    }
    if (now_.kind == Lexeme::Kind::text) {
      std::string text = now_.text;
      advance();
      while (now_.kind == Lexeme::Kind::text) {  // adjacent literals join
        text += now_.text;
        advance();
      }
      return make(Kind::literal, "", {}, text);
    }
    if (accept("(")) {
      Expression inner = conditional();
      expect(")");
      return inner;
    }
    if (accept("[")) {
      std::vector<Expression> items;
      while (!accept("]")) {
        items.push_back(conditional());
        if (!is("]")) expect(",");
      }
      return make(Kind::list, "", items);
    }
    if (accept("{")) {
      std::vector<Expression> items;
      while (!accept("}")) {
        items.push_back(conditional());
        expect(":");
        items.push_back(conditional());
        if (!is("}")) expect(",");
      }
      return make(Kind::dict, "", items);
    }
    const std::string name = take_name();
    if (name == "true" || name == "True") return make(Kind::literal, "", {}, true);
    if (name == "false" || name == "False") return make(Kind::literal, "", {}, false);
    if (name == "none" || name == "None") return make(Kind::literal, "", {}, nullptr);
    if (accept("(")) {  // a function: its name is the first child of a call without a receiver
      std::vector<Expression> children = {make(Kind::literal, "", {}, undefined())};
      arguments(children);
      return make(Kind::call, name, children);
    }
    return make(Kind::name, name, {});
  }

  std::string_view text_;
  std::string where_;
  std::size_t at_ = 0;
  Lexeme now_;
  int depth_ = 0;
};

[[noreturn]] void unknown(const std::string& what, const std::string& name) {
  throw Error({.where = "chat template",
               .found = what + " '" + name + "'",
               .expected = "",
               .advice = "This version of Retort does not know it."});
}

std::string strip(const std::string& text, const std::string& set, bool left, bool right) {
  std::size_t begin = left ? text.find_first_not_of(set) : 0;
  if (begin == std::string::npos) return "";
  const std::size_t end = right ? text.find_last_not_of(set) + 1 : text.size();
  return text.substr(begin, end - begin);
}
constexpr const char* kSpaces = " \t\n\r\f\v";

std::int64_t length_of(const Json& value) {
  if (value.is_string())
    return std::count_if(value.get_ref<const std::string&>().begin(),
                         value.get_ref<const std::string&>().end(),
                         [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  return static_cast<std::int64_t>(value.size());
}

Json text_method(const std::string& text, const std::string& name, const std::vector<Json>& arguments) {
  const std::string first =
      !arguments.empty() && arguments[0].is_string() ? arguments[0].get<std::string>() : "";
  const std::string set = arguments.empty() ? kSpaces : first;
  if (name == "strip") return strip(text, set, true, true);
  if (name == "lstrip") return strip(text, set, true, false);
  if (name == "rstrip") return strip(text, set, false, true);
  if (name == "startswith") return text.rfind(first, 0) == 0;
  if (name == "endswith")
    return text.size() >= first.size() && text.compare(text.size() - first.size(), first.size(), first) == 0;
  if (name == "upper" || name == "lower") {
    std::string result = text;
    for (char& c : result)
      if (static_cast<unsigned char>(c) < 0x80)
        c = static_cast<char>(name == "upper" ? std::toupper(c) : std::tolower(c));
    return result;
  }
  if (name == "split") {
    if (first.empty()) unknown("method", "split without a separator");
    Json parts = Json::array();
    std::size_t at = 0;
    for (std::size_t hit; (hit = text.find(first, at)) != std::string::npos; at = hit + first.size())
      parts.push_back(text.substr(at, hit - at));
    parts.push_back(text.substr(at));
    return parts;
  }
  if (name == "replace" && arguments.size() == 2 && !first.empty()) {
    std::string result = text;
    const std::string by = arguments[1].get<std::string>();
    for (std::size_t at = result.find(first); at != std::string::npos;
         at = result.find(first, at + by.size()))
      result.replace(at, first.size(), by);
    return result;
  }
  unknown("method", name);
}

Json filter(const std::string& name, const Json& value, const std::vector<Json>& arguments) {
  if (name == "trim") return strip(to_text(value), kSpaces, true, true);
  if (name == "length" || name == "count") return length_of(value);
  if (name == "upper" || name == "lower") return text_method(to_text(value), name, {});
  if (name == "string") return to_text(value);
  if (name == "list") return value;
  if (name == "tojson") return value.dump();
  if (name == "first") return value.empty() ? undefined() : value.front();
  if (name == "last") return value.empty() ? undefined() : value.back();
  if (name == "default") return is_undefined(value) ? (arguments.empty() ? Json("") : arguments[0]) : value;
  if (name == "join") {
    std::string result;
    for (const Json& item : value)
      result += (&item == &value.front() ? ""
                 : arguments.empty()     ? ""
                                         : to_text(arguments[0])) +
                to_text(item);
    return result;
  }
  unknown("filter", name);
}

bool test(const std::string& name, const Json& value) {
  if (name == "defined") return !is_undefined(value);
  if (name == "undefined") return is_undefined(value);
  if (name == "none") return value.is_null();
  if (name == "string") return value.is_string();
  if (name == "mapping") return value.is_object();
  if (name == "sequence" || name == "iterable")
    return value.is_array() || value.is_string() || value.is_object();
  if (name == "number") return value.is_number();
  if (name == "boolean") return value.is_boolean();
  if (name == "true") return value.is_boolean() && value.get<bool>();
  if (name == "false") return value.is_boolean() && !value.get<bool>();
  unknown("test", name);
}

Json index_of(const Json& value, const Json& key) {
  if (value.is_object() && key.is_string()) {
    const auto found = value.find(key.get_ref<const std::string&>());
    return found == value.end() ? undefined() : *found;
  }
  if (value.is_array() && key.is_number_integer()) {
    auto at = key.get<std::int64_t>();
    if (at < 0) at += static_cast<std::int64_t>(value.size());
    return at >= 0 && at < static_cast<std::int64_t>(value.size()) ? value[static_cast<std::size_t>(at)]
                                                                   : undefined();
  }
  return undefined();
}

Json slice_of(const Json& value, const Json& first, const Json& last, const Json& step_value) {
  if (!value.is_array()) unknown("slice of a", value.type_name());
  const auto n = static_cast<std::int64_t>(value.size());
  const std::int64_t step = step_value.is_null() ? 1 : step_value.get<std::int64_t>();
  if (step == 0) unknown("slice step", "0");
  const auto clamp = [&](std::int64_t at, std::int64_t low, std::int64_t high) {
    return std::clamp(at < 0 ? at + n : at, low, high);
  };
  std::int64_t at = first.is_null()
                        ? (step > 0 ? 0 : n - 1)
                        : clamp(first.get<std::int64_t>(), step > 0 ? 0 : -1, step > 0 ? n : n - 1);
  const std::int64_t end = last.is_null()
                               ? (step > 0 ? n : -1)
                               : clamp(last.get<std::int64_t>(), step > 0 ? 0 : -1, step > 0 ? n : n - 1);
  Json result = Json::array();
  for (; step > 0 ? at < end : at > end; at += step) result.push_back(value[static_cast<std::size_t>(at)]);
  return result;
}

Json arithmetic(const std::string& op, const Json& left, const Json& right, Scope& scope) {
  if (op == "+" && left.is_string() && right.is_string()) {
    scope.spend(static_cast<std::int64_t>(left.get_ref<const std::string&>().size() +
                                          right.get_ref<const std::string&>().size()) /
                64);
    return left.get<std::string>() + right.get<std::string>();
  }
  if (op == "+" && left.is_array() && right.is_array()) {
    Json result = left;
    for (const Json& item : right) result.push_back(item);
    return result;
  }
  if (!left.is_number() || !right.is_number())
    throw Error({.where = "chat template",
                 .found = std::string(left.type_name()) + " " + op + " " + right.type_name(),
                 .expected = "numbers, or texts for +",
                 .advice = ""});
  if (left.is_number_integer() && right.is_number_integer() && op != "/") {
    const auto a = left.get<std::int64_t>(), b = right.get<std::int64_t>();
    std::int64_t result = 0;
    if (op == "+" && !__builtin_add_overflow(a, b, &result)) return result;
    if (op == "-" && !__builtin_sub_overflow(a, b, &result)) return result;
    if (op == "*" && !__builtin_mul_overflow(a, b, &result)) return result;
    if ((op == "//" || op == "%") && b > 0)
      return op == "%" ? ((a % b) + b) % b : (a - (((a % b) + b) % b)) / b;
    throw Error({.where = "chat template",
                 .found = left.dump() + " " + op + " " + right.dump(),
                 .expected = "a result that fits",
                 .advice = ""});
  }
  const double a = left.get<double>(), b = right.get<double>();
  return op == "+" ? a + b : op == "-" ? a - b : op == "*" ? a * b : a / b;
}

bool contains(const Json& container, const Json& item) {
  if (container.is_string() && item.is_string())
    return container.get_ref<const std::string&>().find(item.get_ref<const std::string&>()) !=
           std::string::npos;
  if (container.is_object() && item.is_string())
    return container.contains(item.get_ref<const std::string&>());
  return container.is_array() && std::find(container.begin(), container.end(), item) != container.end();
}

Json binary(const Node& node, Scope& scope) {
  Json left = evaluate(node.children[0], scope);
  if (node.name == "and") return truthy(left) ? evaluate(node.children[1], scope) : left;
  if (node.name == "or") return truthy(left) ? left : evaluate(node.children[1], scope);
  const Json right = evaluate(node.children[1], scope);
  const std::string& op = node.name;
  if (op == "==") return left == right;
  if (op == "!=") return left != right;
  if (op == "<") return left < right;
  if (op == ">") return left > right;
  if (op == "<=") return left <= right;
  if (op == ">=") return left >= right;
  if (op == "in") return contains(right, left);
  if (op == "~") return arithmetic("+", to_text(left), to_text(right), scope);
  return arithmetic(op, left, right, scope);
}

Json call(const Node& node, Scope& scope) {
  std::vector<Json> arguments;
  for (std::size_t i = 1; i < node.children.size(); ++i)
    arguments.push_back(evaluate(node.children[i], scope));
  const Json receiver = evaluate(node.children[0], scope);
  if (receiver.is_string()) return text_method(receiver.get<std::string>(), node.name, arguments);
  if (receiver.is_object() && node.name == "get" && !arguments.empty()) {
    const Json found = index_of(receiver, arguments[0]);
    return is_undefined(found) ? (arguments.size() > 1 ? arguments[1] : Json(nullptr)) : found;
  }
  if (receiver.is_object() && node.name == "items") {
    Json pairs = Json::array();
    for (const auto& [key, value] : receiver.items()) pairs.push_back(Json::array({key, value}));
    return pairs;
  }
  if (is_undefined(receiver) && node.name == "raise_exception")
    throw Error({.where = "chat template",
                 .found = arguments.empty() ? "" : to_text(arguments[0]),
                 .expected = "messages that the template takes",
                 .advice = ""});
  if (is_undefined(receiver) && node.name == "range" && !arguments.empty() &&
      arguments.back().is_number_integer()) {
    const std::int64_t first = arguments.size() > 1 ? arguments[0].get<std::int64_t>() : 0,
                       last = arguments[arguments.size() > 1 ? 1 : 0].get<std::int64_t>();
    scope.spend(std::max<std::int64_t>(0, last - first));
    Json numbers = Json::array();
    for (std::int64_t i = first; i < last; ++i) numbers.push_back(i);
    return numbers;
  }
  unknown("function", node.name);
}

}  // namespace

void Scope::spend(std::int64_t operations) {
  budget.operations -= operations;
  if (budget.operations < 0)
    throw Error({.where = "chat template",
                 .found = "a render without end",
                 .expected = "a bounded one",
                 .advice = ""});
}

const Json* Scope::find(std::string_view name) const {
  for (auto variable = variables.rbegin(); variable != variables.rend(); ++variable)
    if (variable->first == name) return &variable->second;
  return nullptr;
}

void Scope::set(std::string_view name, Json value) {
  for (std::size_t i = variables.size(); i > floor; --i)
    if (variables[i - 1].first == name) {
      variables[i - 1].second = std::move(value);
      return;
    }
  variables.emplace_back(std::string(name), std::move(value));
}

Json undefined() { return Json(Json::value_t::discarded); }
bool is_undefined(const Json& value) { return value.is_discarded(); }

bool truthy(const Json& value) {
  if (is_undefined(value) || value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

std::string to_text(const Json& value) {
  if (is_undefined(value)) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  return value.dump();
}

Expression parse_expression(std::string_view text, const std::string& where) {
  return Parser(text, where).parse_all();
}

Json evaluate(const Expression& expression, Scope& scope) {
  scope.spend(1);
  const Node& node = *expression;
  switch (node.kind) {
    case Kind::literal:
      return node.value;
    case Kind::name: {
      const Json* found = scope.find(node.name);
      return found == nullptr ? undefined() : *found;
    }
    case Kind::list: {
      Json list = Json::array();
      for (const Expression& item : node.children) list.push_back(evaluate(item, scope));
      return list;
    }
    case Kind::dict: {
      Json object = Json::object();
      for (std::size_t i = 0; i + 1 < node.children.size(); i += 2)
        object[to_text(evaluate(node.children[i], scope))] = evaluate(node.children[i + 1], scope);
      return object;
    }
    case Kind::unary: {
      const Json value = evaluate(node.children[0], scope);
      return node.name == "not" ? Json(!truthy(value)) : arithmetic("-", 0, value, scope);
    }
    case Kind::binary:
      return binary(node, scope);
    case Kind::conditional:
      return evaluate(node.children[truthy(evaluate(node.children[0], scope)) ? 1 : 2], scope);
    case Kind::attribute:
      return index_of(evaluate(node.children[0], scope), node.name);
    case Kind::index:
      return index_of(evaluate(node.children[0], scope), evaluate(node.children[1], scope));
    case Kind::slice:
      return slice_of(evaluate(node.children[0], scope), evaluate(node.children[1], scope),
                      evaluate(node.children[2], scope), evaluate(node.children[3], scope));
    case Kind::call:
      return call(node, scope);
    case Kind::filter: {
      std::vector<Json> arguments;
      for (std::size_t i = 1; i < node.children.size(); ++i)
        arguments.push_back(evaluate(node.children[i], scope));
      return filter(node.name, evaluate(node.children[0], scope), arguments);
    }
    case Kind::test:
      return test(node.name, evaluate(node.children[0], scope));
  }
  return undefined();
}

}  // namespace retort::jinja
