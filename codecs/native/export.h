/* What every source of the library needs to be called from outside. */
#ifndef TILEPRESS_EXPORT_H
#define TILEPRESS_EXPORT_H

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { FAULT_MEMORY = 100 };

#endif
