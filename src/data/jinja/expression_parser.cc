// Follows the grammar of Jinja 3.1, precedences included: "-x | f" negates f(x), "a ~ b + c" joins first.
#include "data/jinja/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace retort::jinja {
namespace {

constexpr int kMaxDepth = 100;   // of what the parser recurses into
constexpr int kMaxHeight = 250;  // of a tree: what evaluation and destruction recurse into

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& p) : parser(p) {
  if (parser.depth_ >= kMaxDepth) parser.fail(fmt::format("at most {} levels", kMaxDepth));
  ++parser.depth_;
}

bool ExpressionParser::accept_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}

bool ExpressionParser::accept_sign(std::string_view sign) {
  if (!is_sign(sign)) return false;
  take();
  return true;
}

void ExpressionParser::expect_sign(std::string_view sign) {
  if (!accept_sign(sign)) fail(fmt::format("'{}'", sign));
}

std::string ExpressionParser::take_name() {
  if (now().kind != Token::Kind::name) fail("a name");
  return take().text;
}

void ExpressionParser::fail(const std::string& expected) const {
  throw Error({.where = fmt::format("{}: line {}", where_, now().line),
               .found = now().kind == Token::Kind::end    ? "the end of the template"
                        : now().kind == Token::Kind::data ? "text"
                                                          : fmt::format("'{}'", now().text),
               .expected = expected,
               .advice = ""});
}

Expression ExpressionParser::make(Node::Kind kind, int line, std::string name) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->line = line;
  node->name = std::move(name);
  return node;
}

void ExpressionParser::adopt(Expression& parent, Expression child) {
  if (child) {
    parent->height = std::max(parent->height, child->height + 1);
    if (parent->height > kMaxHeight) fail(fmt::format("an expression of at most {} levels", kMaxHeight));
  }
  parent->children.push_back(std::move(child));
}

Expression ExpressionParser::two(Node::Kind kind, int line, std::string name, Expression left,
                                 Expression right) {
  Expression node = make(kind, line, std::move(name));
  adopt(node, std::move(left));
  adopt(node, std::move(right));
  return node;
}

Expression ExpressionParser::expression() {
  const Level level(*this);
  const int line = now().line;
  Expression value = either();
  while (accept_name("if")) {
    Expression condition = either();
    Expression otherwise = accept_name("else") ? expression() : nullptr;
    Expression node = make(Node::Kind::conditional, line);
    adopt(node, std::move(condition));
    adopt(node, std::move(value));
    adopt(node, std::move(otherwise));
    value = std::move(node);
  }
  return value;
}

Expression ExpressionParser::expression_or_tuple(bool conditional) {
  const int line = now().line;
  Expression first = conditional ? expression() : either();
  if (!is_sign(",")) return first;
  Expression tuple = make(Node::Kind::list, line, "(");
  adopt(tuple, std::move(first));
  while (accept_sign(",")) {
    const bool over = now().kind == Token::Kind::print_end || now().kind == Token::Kind::block_end ||
                      is_sign(")") || is_sign("]");
    if (over) break;
    adopt(tuple, conditional ? expression() : either());
  }
  return tuple;
}

Expression ExpressionParser::either() {
  const int line = now().line;
  Expression left = both();
  while (accept_name("or")) left = two(Node::Kind::either, line, "or", std::move(left), both());
  return left;
}

Expression ExpressionParser::both() {
  const int line = now().line;
  Expression left = invert();
  while (accept_name("and")) left = two(Node::Kind::both, line, "and", std::move(left), invert());
  return left;
}

Expression ExpressionParser::invert() {
  const int line = now().line;
  if (!accept_name("not")) return compare();
  const Level level(*this);
  Expression node = make(Node::Kind::invert, line);
  adopt(node, invert());
  return node;
}

Expression ExpressionParser::compare() {
  const int line = now().line;
  Expression first = sum();
  Expression node;
  for (;;) {
    std::string op;
    for (const std::string_view sign : {"==", "!=", "<", "<=", ">", ">="})
      if (is_sign(sign)) op = sign;
    if (!op.empty() || is_name("in")) {
      op = take().text;
    } else if (is_name("not")) {
      take();
      if (!accept_name("in")) fail("'in' behind 'not'");
      op = "not in";
    } else {
      return node ? std::move(node) : std::move(first);
    }
    if (!node) {
      node = make(Node::Kind::compare, line);
      adopt(node, std::move(first));
    }
    node->operators.push_back(op);
    adopt(node, sum());
  }
}

Expression ExpressionParser::sum() {
  const int line = now().line;
  Expression left = concatenation();
  while (is_sign("+") || is_sign("-")) {
    std::string op = take().text;
    left = two(Node::Kind::arithmetic, line, std::move(op), std::move(left), concatenation());
  }
  return left;
}

Expression ExpressionParser::concatenation() {
  const int line = now().line;
  Expression left = product();
  while (accept_sign("~")) left = two(Node::Kind::arithmetic, line, "~", std::move(left), product());
  return left;
}

Expression ExpressionParser::product() {
  const int line = now().line;
  Expression left = power();
  while (is_sign("*") || is_sign("/") || is_sign("//") || is_sign("%")) {
    std::string op = take().text;
    left = two(Node::Kind::arithmetic, line, std::move(op), std::move(left), power());
  }
  return left;
}

Expression ExpressionParser::power() {
  const int line = now().line;
  Expression left = unary(true);
  while (accept_sign("**")) left = two(Node::Kind::arithmetic, line, "**", std::move(left), unary(true));
  return left;
}

Expression ExpressionParser::unary(bool with_filters) {
  const int line = now().line;
  Expression value;
  if (is_sign("-") || is_sign("+")) {
    const Level level(*this);
    value = make(Node::Kind::negate, line, take().text);
    adopt(value, unary(false));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters(std::move(value)) : std::move(value);
}

Expression ExpressionParser::filters(Expression value) {
  for (;;) {
    const int line = now().line;
    if (is_sign("|") || !value) {
      if (value) take();
      Expression filter = make(Node::Kind::filter, line, take_name());
      adopt(filter, std::move(value));
      if (accept_sign("(")) arguments(filter);
      value = std::move(filter);
    } else if (accept_name("is")) {
      value = test(std::move(value));
    } else if (is_sign("(")) {
      value = postfix(std::move(value));
    } else {
      return value;
    }
  }
}

Expression ExpressionParser::test(Expression value) {
  const int line = now().line;
  const bool negated = accept_name("not");
  Expression node = make(Node::Kind::test, line, take_name());
  adopt(node, std::move(value));
  if (is_name("is")) fail("one test at a time");
  const bool word = now().kind == Token::Kind::name && !is_name("else") && !is_name("or") && !is_name("and");
  if (accept_sign("(")) {
    arguments(node);
  } else if (word || now().kind == Token::Kind::constant || is_sign("[") || is_sign("{")) {
    adopt(node, postfix(primary()));
  }
  if (!negated) return node;
  Expression inverted = make(Node::Kind::invert, line);
  adopt(inverted, std::move(node));
  return inverted;
}

Expression ExpressionParser::postfix(Expression value) {
  for (;;) {
    const int line = now().line;
    if (accept_sign(".")) {
      const bool index = now().kind == Token::Kind::constant && now().value.integer() != nullptr;
      Expression node = make(index ? Node::Kind::item : Node::Kind::attribute, line);
      adopt(node, std::move(value));
      if (index) {
        Expression key = make(Node::Kind::constant, line);
        key->value = take().value;
        adopt(node, std::move(key));
      } else {
        node->name = take_name();
      }
      value = std::move(node);
    } else if (is_sign("[")) {
      value = subscript(std::move(value));
    } else if (accept_sign("(")) {
      Expression node = make(Node::Kind::call, line);
      adopt(node, std::move(value));
      arguments(node);
      value = std::move(node);
    } else {
      return value;
    }
  }
}

Expression ExpressionParser::subscript(Expression value) {
  const int line = now().line;
  expect_sign("[");
  Expression first = is_sign(":")   ? nullptr
                     : is_sign("]") ? make(Node::Kind::list, line, "(")
                                    : expression_or_tuple();
  Expression node = make(is_sign(":") ? Node::Kind::slice : Node::Kind::item, line);
  adopt(node, std::move(value));
  adopt(node, std::move(first));
  if (accept_sign(":")) {
    adopt(node, is_sign("]") || is_sign(":") ? nullptr : expression());
    adopt(node, accept_sign(":") && !is_sign("]") ? expression() : nullptr);
  }
  expect_sign("]");
  return node;
}

void ExpressionParser::arguments(Expression& call) {
  while (!accept_sign(")")) {
    const bool list = accept_sign("*"), dict = !list && accept_sign("**");
    const Token& token = now();
    if (token.kind == Token::Kind::name && tokens_[at_ + 1].kind == Token::Kind::sign &&
        tokens_[at_ + 1].text == "=") {
      std::string name = take_name();
      expect_sign("=");
      Expression value = expression();
      call->height = std::max(call->height, value->height + 1);
      call->named.emplace_back(std::move(name), std::move(value));
    } else {
      adopt(call, expression());
      if (list || dict) call->spread.emplace_back(call->children.size() - 1, dict);
    }
    if (!is_sign(")")) expect_sign(",");
  }
}

Expression ExpressionParser::primary() {
  const int line = now().line;
  if (now().kind == Token::Kind::constant) {
    Expression node = make(Node::Kind::constant, line);
    node->value = take().value;
    // Texts side by side are one.
    while (node->value.text() != nullptr && now().kind == Token::Kind::constant &&
           now().value.text() != nullptr)
      node->value = *node->value.text() + *take().value.text();
    return node;
  }
  if (accept_sign("(")) {
    if (accept_sign(")")) return make(Node::Kind::list, line, "(");
    Expression inner = expression_or_tuple();
    expect_sign(")");
    return inner;
  }
  if (is_sign("[") || is_sign("{")) return list_or_dict();
  if (now().kind != Token::Kind::name) fail("an expression");
  const std::string name = take().text;
  const bool truth = name == "true" || name == "True";
  if (truth || name == "false" || name == "False" || name == "none" || name == "None") {
    Expression node = make(Node::Kind::constant, line);
    node->value = name == "none" || name == "None" ? Value() : Value(truth);
    return node;
  }
  return make(Node::Kind::variable, line, name);
}

Expression ExpressionParser::list_or_dict() {
  const int line = now().line;
  const bool dict = is_sign("{");
  take();
  const std::string_view close = dict ? "}" : "]";
  Expression node = make(dict ? Node::Kind::dict : Node::Kind::list, line);
  while (!accept_sign(close)) {
    adopt(node, expression());
    if (dict) {
      expect_sign(":");
      adopt(node, expression());
    }
    if (!is_sign(close)) expect_sign(",");
  }
  return node;
}

}  // namespace retort::jinja
