#ifndef CODIS_CLMDB_SHIM_H
#define CODIS_CLMDB_SHIM_H
#include <lmdb.h>
#endif
