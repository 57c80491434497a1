// For the unit with main() of a program that trains, and no other: a definition.
//
// A training step frees and takes buffers of megabytes, of other sizes for each batch. With jemalloc what is
// freed stays for the next (pages that go back to the system come back zeroed, a third of a step), and large
// buffers lie beside each other, not among small ones that keep them from growing together again: with glibc's
// malloc the same run takes twice the memory, and more with every batch.
#pragma once

extern "C" {
const char* malloc_conf = "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0";
}
