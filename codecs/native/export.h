/* What every source of the library needs to be called from outside. */
#ifndef TILEPRESS_EXPORT_H
#define TILEPRESS_EXPORT_H

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { FAULT_MEMORY = 100 };

/* Number of the contract with Python, which library.py has, too: raised whenever a function that is exported, a
   structure that Python fills or what either means is changed, so that an older library is refused, not called. */
enum { ABI = 4 };

#endif
