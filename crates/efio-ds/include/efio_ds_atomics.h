/*
 * efio_ds_atomics.h: atomic_int and atomic_uintptr_t, in C and in C++.
 *
 * Two headers here have atomic types in what they declare. C has them in <stdatomic.h>; C++ before C++23 has not, so there
 * the types of <atomic> get those names. Both are laid out alike.
 */
#ifndef EFIO_DS_ATOMICS_H
#define EFIO_DS_ATOMICS_H

#if defined(__cplusplus) && !defined(__CLANG_STDATOMIC_H)
#include <atomic>
#include <cstdint>
using std::atomic_int;
using std::atomic_uintptr_t;
using std::atomic_load;
using std::atomic_store;
using std::atomic_exchange;
using std::atomic_fetch_add;
using std::atomic_fetch_sub;
using std::atomic_compare_exchange_strong;
#else
#include <stdatomic.h>
#include <stdint.h>
#endif

#endif
