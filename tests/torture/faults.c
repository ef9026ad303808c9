/* Preloaded into a process, this makes its nth file operation below a folder fail, or kills the process there.
 *
 * It stands between every library and the kernel, so it also sees what is written from Rust and C++.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char under[PATH_MAX];
static long at, seen;
static int failure; /* an errno; 0: kill */

void faults_arm(const char *folder, long nth, int error) {
    strncpy(under, folder, sizeof under - 1);
    seen = 0;
    at = nth;
    failure = error;
}

long faults_seen(void) { return seen; }

static int below(const char *path) {
    return under[0] && path && strncmp(path, under, strlen(under)) == 0;
}

static int descriptor_below(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!under[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Whether this operation is to fail. A failing disk goes on failing: so does every operation after the nth. */
static int fails(int counted) {
    if (!counted || ++seen < at || at == 0) return 0;
    if (failure == 0) kill(getpid(), SIGKILL);
    errno = failure;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int descriptor, const void *content, size_t size) {
    int counted = descriptor_below(descriptor);
    if (counted && seen + 1 == at && size > 1) REAL(write)(descriptor, content, size / 2); /* torn in the middle */
    if (fails(counted)) return -1;
    return REAL(write)(descriptor, content, size);
}

ssize_t pwrite64(int descriptor, const void *content, size_t size, off64_t offset) {
    if (fails(descriptor_below(descriptor))) return -1;
    return REAL(pwrite64)(descriptor, content, size, offset);
}

int fsync(int descriptor) { return fails(descriptor_below(descriptor)) ? -1 : REAL(fsync)(descriptor); }

int fdatasync(int descriptor) { return fails(descriptor_below(descriptor)) ? -1 : REAL(fdatasync)(descriptor); }

int ftruncate64(int descriptor, off64_t size) {
    return fails(descriptor_below(descriptor)) ? -1 : REAL(ftruncate64)(descriptor, size);
}

int rename(const char *from, const char *to) { return fails(below(to)) ? -1 : REAL(rename)(from, to); }

int mkdir(const char *path, mode_t mode) { return fails(below(path)) ? -1 : REAL(mkdir)(path, mode); }

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;               \
        va_end(rest);                                                           \
        if (fails((flags & (O_WRONLY | O_RDWR)) && below(path))) return -1;     \
        return REAL(name)(path, flags, mode);                                   \
    }

OPEN(open)
OPEN(open64)
