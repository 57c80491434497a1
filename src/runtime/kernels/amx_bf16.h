// Whether AMX-BF16 may be used.
#pragma once

namespace retort {

// The processor has its instructions, and Linux has given this process the tiles' registers, which it does on
// request only (Documentation/arch/x86/xstate.rst). False on other systems and processors.
bool amx_bf16_granted();

}  // namespace retort
