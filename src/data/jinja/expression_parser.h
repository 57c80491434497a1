// Tokens → expressions. The statements' parser builds on it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/jinja/lexer.h"
#include "data/jinja/syntax.h"

namespace retort::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string where)
      : tokens_(std::move(tokens)), where_(std::move(where)) {}

 protected:
  const Token& now() const { return tokens_[at_]; }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_name(std::string_view name) const { return now().kind == Token::Kind::name && now().text == name; }
  bool is_sign(std::string_view sign) const { return now().kind == Token::Kind::sign && now().text == sign; }
  bool accept_name(std::string_view name);
  bool accept_sign(std::string_view sign);
  void expect_sign(std::string_view sign);
  std::string take_name();
  [[noreturn]] void fail(const std::string& expected) const;  // at the token that is next

  Expression expression();  // with "… if … else …"
  Expression expression_or_tuple(bool conditional = true);
  // "| name(…)", "is …" and calls behind a value; null for a filter block.
  Expression filters(Expression value);
  Expression postfix(Expression value);  // ".name", "[…]", "(…)"
  Expression primary();
  Expression make(Node::Kind kind, int line, std::string name = "");
  void adopt(Expression& parent, Expression child);

  // Counts recursion while it lives.
  struct Level {
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser.depth_; }
    ExpressionParser& parser;
  };

 private:
  Expression either();
  Expression both();
  Expression invert();
  Expression compare();
  Expression sum();
  Expression concatenation();
  Expression product();
  Expression power();
  Expression unary(bool with_filters);
  Expression test(Expression value);
  Expression subscript(Expression value);
  Expression list_or_dict();
  void arguments(Expression& call);
  Expression two(Node::Kind kind, int line, std::string name, Expression left, Expression right);

  std::vector<Token> tokens_;
  std::string where_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace retort::jinja
