#ifndef CODIS_CGLIBC_SHIM_H
#define CODIS_CGLIBC_SHIM_H
// What glibc has and Swift's module Glibc does not show.
#include <malloc.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/vfs.h>

// <fcntl.h> declares these for _GNU_SOURCE only.
extern int fallocate(int descriptor, int mode, off_t offset, off_t length);
#ifndef SYNC_FILE_RANGE_WRITE
#define SYNC_FILE_RANGE_WAIT_BEFORE 1
#define SYNC_FILE_RANGE_WRITE 2
#define SYNC_FILE_RANGE_WAIT_AFTER 4
extern int sync_file_range(int descriptor, __off64_t offset, __off64_t count, unsigned int flags);
#endif
#endif
