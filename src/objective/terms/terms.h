// One maker per term, each in the term's own file. cross_entropy and forward_kl have headers of their own.
#pragma once

#include "objective/registry.h"

namespace retort {

std::unique_ptr<LogitTerm> make_reverse_kl(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<LogitTerm> make_generalized_jsd(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<LogitTerm> make_skewed_kl(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<LogitTerm> make_logit_mse(const Json&, const std::string& where, const TermContext&);

std::unique_ptr<Term> make_hidden_mse(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_hidden_cosine(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_cka(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_attention_kl(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_attention_mse(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_value_relation(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_exit_kl(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_span_kl(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_uld(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_l2(const Json&, const std::string& where, const TermContext&);
std::unique_ptr<Term> make_l2_start(const Json&, const std::string& where, const TermContext&);

}  // namespace retort
