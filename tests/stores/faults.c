/*
 * Loaded before the C library (LD_PRELOAD): while the file that FAULT_FILE names exists, nothing can be synced, and if
 * it holds an "n", nothing can be written either for want of room. Only files whose names end in "-wal" are concerned.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int concerned(int descriptor)
{
    char link[64], name[4096];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, name, sizeof name - 1);
    return length > 4 && memcmp(name + length - 4, "-wal", 4) == 0;
}

/* 0: all is well; 1: syncing fails; 2: writing fails too. */
static int fault(int descriptor)
{
    const char *file = getenv("FAULT_FILE");
    char what = 0;
    int flag;
    if (file == NULL || !concerned(descriptor) || (flag = open(file, O_RDONLY)) < 0)
        return 0;
    if (read(flag, &what, 1) != 1)
        what = 0;
    close(flag);
    return what == 'n' ? 2 : 1;
}

int fsync(int descriptor)
{
    static int (*real)(int);
    if (fault(descriptor)) {
        errno = EIO;
        return -1;
    }
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "fsync");
    return real(descriptor);
}

int fdatasync(int descriptor)
{
    static int (*real)(int);
    if (fault(descriptor)) {
        errno = EIO;
        return -1;
    }
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "fdatasync");
    return real(descriptor);
}

ssize_t pwrite64(int descriptor, const void *data, size_t count, off64_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (fault(descriptor) == 2) {
        errno = ENOSPC;
        return -1;
    }
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "pwrite64");
    return real(descriptor, data, count, offset);
}
