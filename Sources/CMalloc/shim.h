#ifndef CODIS_CMALLOC_SHIM_H
#define CODIS_CMALLOC_SHIM_H
#include <malloc.h>
#endif
