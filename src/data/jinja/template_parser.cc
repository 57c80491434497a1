#include "data/jinja/template_parser.h"

#include <algorithm>

#include "data/jinja/expression_parser.h"

namespace retort::jinja {
namespace {

using Kind = Statement::Kind;

class TemplateParser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block parse() {
    Block block = body({});
    if (now().kind != Token::Kind::end) fail("a statement that can stand here");
    return block;
  }

 private:
  static Statement statement(Kind kind, int line) {
    Statement result{};
    result.kind = kind;
    result.line = line;
    return result;
  }

  void end_block() {
    if (now().kind != Token::Kind::block_end) fail("'%}'");
    take();
  }

  // Statements up to a block that begins with one of `ends`; the word is next then. No ends: up to the end of
  // the template.
  Block body(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Block block;
    for (;;) {
      const int line = now().line;
      switch (now().kind) {
        case Token::Kind::data:
          block.push_back(statement(Kind::text, line));
          block.back().text = take().text;
          break;
        case Token::Kind::print_begin:
          take();
          block.push_back(statement(Kind::print, line));
          block.back().expression = expression_or_tuple();
          if (now().kind != Token::Kind::print_end) fail("'}}'");
          take();
          break;
        case Token::Kind::block_begin: {
          take();
          const bool over =
              std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return is_name(end); });
          if (over) return block;
          block_statement(block);
          break;
        }
        default:
          if (ends.size() > 0) fail("'" + std::string(*ends.begin()) + "'");
          return block;
      }
    }
  }

  void block_statement(Block& block) {
    const int line = now().line;
    if (accept_name("for")) return block.push_back(loop(line));
    if (accept_name("if")) return block.push_back(branch(line));
    if (accept_name("set")) return block.push_back(set(line));
    if (accept_name("macro")) return block.push_back(macro(line));
    if (accept_name("call")) return block.push_back(call(line));
    if (accept_name("filter")) return block.push_back(filter_block(line));
    if (accept_name("with")) return block.push_back(with(line));
    if (accept_name("generation")) {  // marks what the assistant says; its text is printed as it is
      end_block();
      for (Statement& inner : ended_body("endgeneration")) block.push_back(std::move(inner));
      return;
    }
    const bool leave = is_name("break");
    if (!leave && !is_name("continue"))
      fail("one of: for if set macro call filter with generation break continue raw, or an end that fits");
    if (loops_ == 0) fail("a for loop around it");
    take();
    end_block();
    block.push_back(statement(leave ? Kind::leave : Kind::proceed, line));
  }

  Block ended_body(std::string_view end) {
    Block block = body({end});
    take();
    end_block();
    return block;
  }

  Target target() {
    Target result = one_target();
    if (!is_sign(",")) return result;
    Target several;
    several.parts.push_back(std::move(result));
    while (accept_sign(","))
      if (now().kind == Token::Kind::name && !is_name("in")) several.parts.push_back(one_target());
    return several;
  }

  Target one_target() {
    if (accept_sign("(")) {
      const Level level(*this);
      Target inner = target();
      expect_sign(")");
      return inner;
    }
    Target result;
    result.name = take_name();
    if (accept_sign(".")) result.attribute = take_name();
    return result;
  }

  Statement loop(int line) {
    Statement result = statement(Kind::loop, line);
    result.target = target();
    if (!accept_name("in")) fail("'in'");
    result.expression = expression_or_tuple(/*conditional=*/false);
    if (accept_name("if")) result.condition = expression();
    if (is_name("recursive")) fail("a loop that is not recursive");
    end_block();
    ++loops_;
    result.body = body({"endfor", "else"});
    --loops_;
    if (accept_name("else")) {
      end_block();
      result.otherwise = ended_body("endfor");
    } else {
      take();
      end_block();
    }
    return result;
  }

  Statement branch(int line) {
    Statement result = statement(Kind::branch, line);
    for (;;) {
      Expression condition = expression_or_tuple(/*conditional=*/false);
      end_block();
      Block inner = body({"endif", "elif", "else"});
      result.branches.emplace_back(std::move(condition), std::move(inner));
      if (accept_name("elif")) continue;
      if (accept_name("else")) {
        end_block();
        result.branches.emplace_back(nullptr, ended_body("endif"));
      } else {
        take();
        end_block();
      }
      return result;
    }
  }

  Statement set(int line) {
    Statement result = statement(Kind::set, line);
    result.target = target();
    if (accept_sign("=")) {
      result.expression = expression_or_tuple();
      end_block();
      return result;
    }
    result.kind = Kind::set_block;
    if (accept_sign("|")) result.filter = filters(nullptr);
    end_block();
    result.body = ended_body("endset");
    return result;
  }

  void parameters(Statement& result) {
    expect_sign("(");
    while (!accept_sign(")")) {
      Parameter parameter{take_name(), nullptr};
      if (accept_sign("="))
        parameter.fallback = expression();
      else if (!result.parameters.empty() && result.parameters.back().fallback)
        fail("a default, as the parameter before has one");
      result.parameters.push_back(std::move(parameter));
      if (!is_sign(")")) expect_sign(",");
    }
  }

  // A loop around a macro is none for what stands in the macro.
  Block macro_body(std::string_view end) {
    const int outer = std::exchange(loops_, 0);
    Block block = ended_body(end);
    loops_ = outer;
    return block;
  }

  Statement macro(int line) {
    Statement result = statement(Kind::macro, line);
    result.text = take_name();
    parameters(result);
    end_block();
    result.body = macro_body("endmacro");
    return result;
  }

  Statement call(int line) {
    Statement result = statement(Kind::call, line);
    if (is_sign("(")) parameters(result);
    result.expression = postfix(primary());
    if (result.expression->kind != Node::Kind::call) fail("the call of a macro");
    end_block();
    result.body = macro_body("endcall");
    return result;
  }

  Statement filter_block(int line) {
    Statement result = statement(Kind::filter, line);
    result.filter = filters(nullptr);
    end_block();
    result.body = ended_body("endfilter");
    return result;
  }

  Statement with(int line) {
    Statement result = statement(Kind::with, line);
    while (now().kind != Token::Kind::block_end) {
      Target name = one_target();
      expect_sign("=");
      result.assignments.emplace_back(std::move(name), expression());
      if (now().kind != Token::Kind::block_end) expect_sign(",");
    }
    end_block();
    result.body = ended_body("endwith");
    return result;
  }

  int loops_ = 0;  // around what is parsed
};

}  // namespace

Block parse_template(std::string_view source, const std::string& where) {
  return TemplateParser(tokenize(source, where), where).parse();
}

}  // namespace retort::jinja
