/* Preloaded into a process, this makes its nth file operation below a folder fail, or kills the process there. Or it
 * makes the folder one of a torn network file system: without locks, and now and then it has forgotten a file.
 *
 * It stands between every library and the kernel, so it also sees what is written from Rust and C++.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
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

static char torn[PATH_MAX];
static unsigned one_in, state;
static long stale_seen;

void faults_tear(const char *folder, unsigned one_stale_in) {
    strncpy(torn, folder, sizeof torn - 1);
    one_in = one_stale_in;
    state = getpid();
    stale_seen = 0;
}

long faults_stale_seen(void) { return stale_seen; }

static int in(const char *folder, const char *path) {
    return folder[0] && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int below(const char *path) { return in(under, path); }

static int descriptor_in(const char *folder, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return in(folder, path);
}

static int descriptor_below(int descriptor) { return descriptor_in(under, descriptor); }

/* Whether the file system does not have this. */
static int lacks(int descriptor, int error) {
    if (!descriptor_in(torn, descriptor)) return 0;
    errno = error;
    return 1;
}

/* Whether the server has forgotten the file, this time. */
static int stale(const char *path) {
    if (!in(torn, path) || one_in == 0 || rand_r(&state) % one_in) return 0;
    ++stale_seen;
    errno = ESTALE;
    return 1;
}

static int is_folder(int descriptor) {
    struct stat64 status;
    return fstat64(descriptor, &status) == 0 && S_ISDIR(status.st_mode);
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

int fsync(int descriptor) {
    if (torn[0] && is_folder(descriptor) && lacks(descriptor, EINVAL)) return -1;
    return fails(descriptor_below(descriptor)) ? -1 : REAL(fsync)(descriptor);
}

int fdatasync(int descriptor) { return fails(descriptor_below(descriptor)) ? -1 : REAL(fdatasync)(descriptor); }

int ftruncate64(int descriptor, off64_t size) {
    return fails(descriptor_below(descriptor)) ? -1 : REAL(ftruncate64)(descriptor, size);
}

int rename(const char *from, const char *to) { return stale(to) || fails(below(to)) ? -1 : REAL(rename)(from, to); }

int mkdir(const char *path, mode_t mode) { return fails(below(path)) ? -1 : REAL(mkdir)(path, mode); }

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;               \
        va_end(rest);                                                           \
        if (stale(path)) return -1;                                             \
        if (fails((flags & (O_WRONLY | O_RDWR)) && below(path))) return -1;     \
        return REAL(name)(path, flags, mode);                                   \
    }

OPEN(open)
OPEN(open64)

DIR *opendir(const char *path) { return stale(path) ? NULL : REAL(opendir)(path); }

int stat64(const char *path, struct stat64 *status) { return stale(path) ? -1 : REAL(stat64)(path, status); }

int lstat64(const char *path, struct stat64 *status) { return stale(path) ? -1 : REAL(lstat64)(path, status); }


int flock(int descriptor, int operation) { return lacks(descriptor, ENOLCK) ? -1 : REAL(flock)(descriptor, operation); }

int fcntl64(int descriptor, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if ((command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK) && lacks(descriptor, ENOLCK)) return -1;
    return REAL(fcntl64)(descriptor, command, argument);
}
