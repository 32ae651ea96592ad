#ifndef CODIS_CLZF_SHIM_H
#define CODIS_CLZF_SHIM_H
#include <liblzf/lzf.h>
#endif
