/* What a failing disk, a full disk or a dying process does to a program, at a call of one's choice.
 *
 * Preloaded (LD_PRELOAD), this library stands before the calls by which SQLite and Python change
 * files. Calls that concern files under one folder are counted, and at a given count it acts:
 *
 *   count           only count
 *   kill:N          SIGKILL before the N-th call          killafter:N   after it
 *   error:N:ERRNO   the N-th call fails                   errorfrom:N:ERRNO  so do all after it
 *   short:N:ERRNO   the N-th write is cut in half; whatever would make files grow then fails
 *   readerror:N:ERRNO  the N-th reading call fails (those are counted apart)
 *   record:FILE     log every change with its data, to rebuild any moment of it
 *
 * A process sets it going by iofault_arm(folder, action), found by ctypes; one that cannot is
 * started with IOFAULT_ROOT and IOFAULT. What maps files into memory is not seen: SQLite does that
 * with its shared-memory file alone, which holds nothing that must last.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum action { OFF, COUNT, KILL, KILL_AFTER, ERROR, ERROR_FROM, SHORT, READ_ERROR, RECORD };
enum kind { GROWS, CHANGES, SYNCS, READS };
enum verdict { PASS, FAIL, CUT, DIE_AFTER };

static enum action action = OFF;
static char root[PATH_MAX];
static size_t root_length;
static long at;
static int error_number = EIO;
static int log_fd = -1;
static atomic_long calls, reads;
static pthread_mutex_t recording = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ({ static __typeof__(&name) f; if (!f) f = dlsym(RTLD_NEXT, #name); f; })

void iofault_arm(const char *folder, const char *spec) {
  static const struct { const char *name; enum action action; } actions[] = {
      {"count", COUNT}, {"kill", KILL}, {"killafter", KILL_AFTER}, {"error", ERROR},
      {"errorfrom", ERROR_FROM}, {"short", SHORT}, {"readerror", READ_ERROR}, {"record", RECORD}};
  char name[32] = "", rest[PATH_MAX] = "";
  action = OFF;
  sscanf(spec, "%31[^:]:%4095s", name, rest);
  snprintf(root, sizeof root, "%s", folder);
  root_length = strlen(root);
  calls = reads = 0;
  enum action wanted = OFF;
  for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
    if (!strcmp(name, actions[i].name)) wanted = actions[i].action;
  if (wanted == RECORD)
    log_fd = REAL(open)(rest, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  else
    sscanf(rest, "%ld:%d", &at, &error_number);
  action = wanted;
}

void iofault_disarm(void) { action = OFF; }
long iofault_calls(void) { return calls; }
long iofault_reads(void) { return reads; }

__attribute__((constructor)) static void arm_by_environment(void) {
  const char *folder = getenv("IOFAULT_ROOT"), *spec = getenv("IOFAULT");
  if (folder && spec) iofault_arm(folder, spec);
}

/* Which file */

static int ours(const char *path) {
  return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int path_of(int fd, char *path) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  path[n < 0 ? 0 : n] = 0;
  return n > 0 && ours(path);
}

static int path_at(int folder, const char *name, char *path) {
  if (name[0] == '/') {
    snprintf(path, PATH_MAX, "%s", name);
    return ours(path);
  }
  if (folder == AT_FDCWD) {
    if (!getcwd(path, PATH_MAX)) return 0;
  } else {
    path_of(folder, path);
  }
  size_t n = strlen(path);
  snprintf(path + n, PATH_MAX - n, "/%s", name);
  return ours(path);
}

/* What becomes of a call */

static enum verdict enter(enum kind kind) {
  int saved = errno;
  if (kind == READS) {
    long n = ++reads;
    if (action == READ_ERROR && n == at) goto fail;
    return PASS;
  }
  long n = ++calls;
  switch (action) {
    case KILL:
      if (n == at) kill(getpid(), SIGKILL);
      break;
    case KILL_AFTER:
      if (n == at) return DIE_AFTER;
      break;
    case ERROR:
      if (n == at) goto fail;
      break;
    case ERROR_FROM: /* a full disk still renames, removes and flushes; a broken one does not */
      if (n >= at && (kind == GROWS || error_number != ENOSPC)) goto fail;
      break;
    case SHORT:
      if (n == at) return CUT;
      if (n > at && kind == GROWS) goto fail;
      break;
    default:
      break;
  }
  errno = saved;
  return PASS;
fail:
  errno = error_number;
  return FAIL;
}

static void leave(enum verdict verdict) {
  if (verdict == DIE_AFTER) kill(getpid(), SIGKILL);
}

/* The log: one header, then its texts or data */

struct record {
  char type;
  char padding[7];
  uint64_t inode, offset, length, length2;
};

static void note(char type, uint64_t inode, uint64_t offset, const void *data, size_t length,
                 const char *text) {
  struct record head = {type, "", inode, offset, length, text ? strlen(text) : 0};
  struct iovec parts[] = {
      {&head, sizeof head}, {(void *)data, length}, {(void *)text, head.length2}};
  int saved = errno;
  syscall(SYS_writev, log_fd, parts, 3);
  errno = saved;
}

static uint64_t inode_of(int fd) {
  struct stat status;
  return fstat(fd, &status) ? 0 : status.st_ino;
}

static uint64_t inode_at(const char *path) {
  struct stat status;
  return lstat(path, &status) ? 0 : status.st_ino;
}

void iofault_mark(const char *text) {
  if (action == RECORD) note('A', 0, 0, NULL, 0, text);
}

/* Run a call as the verdict says; when recording, no other call comes between it and its record. */
#define RUN(kind, failure, call, record)                  \
  do {                                                    \
    enum verdict verdict = enter(kind);                   \
    if (verdict == FAIL) return failure;                  \
    if (action == RECORD) pthread_mutex_lock(&recording); \
    __typeof__(call) result = call;                       \
    if (action == RECORD) {                               \
      if (result != (failure)) record;                    \
      pthread_mutex_unlock(&recording);                   \
    }                                                     \
    leave(verdict);                                       \
    return result;                                        \
  } while (0)

#define PASSED(name, ...) return REAL(name)(__VA_ARGS__)

/* Half of a write, or an error where there is no half */
#define HALVED(n)                             \
  if (action == SHORT && calls + 1 == at) {   \
    if ((n) < 2) action = ERROR_FROM;         \
    else (n) /= 2;                            \
  }

ssize_t write(int fd, const void *data, size_t n) {
  char path[PATH_MAX];
  if (action == OFF || !path_of(fd, path)) PASSED(write, fd, data, n);
  HALVED(n);
  RUN(GROWS, -1, REAL(write)(fd, data, n),
      note('W', inode_of(fd), lseek(fd, 0, SEEK_CUR) - result, data, result, NULL));
}

#define PWRITE(name, offset_type)                                           \
  ssize_t name(int fd, const void *data, size_t n, offset_type offset) {    \
    char path[PATH_MAX];                                                    \
    if (action == OFF || !path_of(fd, path)) PASSED(name, fd, data, n, offset); \
    HALVED(n);                                                              \
    RUN(GROWS, -1, REAL(name)(fd, data, n, offset),                         \
        note('W', inode_of(fd), offset, data, result, NULL));               \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
  char path[PATH_MAX];
  if (action == OFF || !path_of(fd, path)) PASSED(writev, fd, parts, count);
  return count ? write(fd, parts[0].iov_base, parts[0].iov_len) : 0; /* fewer is allowed */
}

/* Copies within the kernel are refused, so that callers copy by write. */
ssize_t sendfile(int out, int in, off_t *offset, size_t n) {
  char path[PATH_MAX];
  (void)in, (void)offset, (void)n;
  if (action == OFF || !path_of(out, path)) return syscall(SYS_sendfile, out, in, offset, n);
  errno = ENOTSOCK;
  return -1;
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t n) {
  return sendfile(out, in, (off_t *)offset, n);
}

#define TRUNCATE(name, offset_type)                                        \
  int name(int fd, offset_type size) {                                     \
    char path[PATH_MAX];                                                   \
    if (action == OFF || !path_of(fd, path)) PASSED(name, fd, size);       \
    RUN(CHANGES, -1, REAL(name)(fd, size), note('T', inode_of(fd), size, NULL, 0, NULL)); \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define FALLOCATE(name, offset_type)                                              \
  int name(int fd, offset_type offset, offset_type n) {                           \
    char path[PATH_MAX];                                                          \
    if (action == OFF || !path_of(fd, path)) PASSED(name, fd, offset, n);         \
    RUN(GROWS, error_number, REAL(name)(fd, offset, n),                           \
        if (!result) note('F', inode_of(fd), offset + n, NULL, 0, NULL));         \
  }
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)

#define SYNC(name)                                           \
  int name(int fd) {                                         \
    char path[PATH_MAX];                                     \
    if (action == OFF || !path_of(fd, path)) PASSED(name, fd); \
    RUN(SYNCS, -1, REAL(name)(fd), note('S', inode_of(fd), 0, NULL, 0, path)); \
  }
SYNC(fsync)
SYNC(fdatasync)

/* Opening counts where it makes a file or empties one. */
static int opened(int (*real)(int, const char *, int, ...), int folder, const char *name, int flags,
                  mode_t mode) {
  char path[PATH_MAX];
  if (action == OFF || !(flags & (O_CREAT | O_TRUNC)) || !path_at(folder, name, path))
    return real(folder, name, flags, mode);
  int is_new = !inode_at(path);
  if (!is_new && !(flags & O_TRUNC)) return real(folder, name, flags, mode);
  RUN(is_new ? GROWS : CHANGES, -1, real(folder, name, flags, mode),
      is_new ? note('C', inode_of(result), 0, NULL, 0, path)
             : note('T', inode_of(result), 0, NULL, 0, NULL));
}

#define MODE(flags)                         \
  mode_t mode = 0;                          \
  if ((flags) & (O_CREAT | O_TMPFILE)) {    \
    va_list list;                           \
    va_start(list, flags);                  \
    mode = va_arg(list, mode_t);            \
    va_end(list);                           \
  }

int open(const char *name, int flags, ...) {
  MODE(flags);
  return opened(REAL(openat), AT_FDCWD, name, flags, mode);
}
int open64(const char *name, int flags, ...) {
  MODE(flags);
  return opened(REAL(openat64), AT_FDCWD, name, flags, mode);
}
int openat(int folder, const char *name, int flags, ...) {
  MODE(flags);
  return opened(REAL(openat), folder, name, flags, mode);
}
int openat64(int folder, const char *name, int flags, ...) {
  MODE(flags);
  return opened(REAL(openat64), folder, name, flags, mode);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
  char path[PATH_MAX], path2[PATH_MAX];
  int concerned = action != OFF && (path_at(from, old, path) | path_at(to, new, path2));
  if (!concerned) PASSED(renameat2, from, old, to, new, flags);
  RUN(CHANGES, -1, REAL(renameat2)(from, old, to, new, flags),
      note('R', 0, 0, path, strlen(path), path2));
}
int rename(const char *old, const char *new) {
  return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}
int renameat(int from, const char *old, int to, const char *new) {
  return renameat2(from, old, to, new, 0);
}

int unlinkat(int folder, const char *name, int flags) {
  char path[PATH_MAX];
  if (action == OFF || !path_at(folder, name, path)) PASSED(unlinkat, folder, name, flags);
  RUN(CHANGES, -1, REAL(unlinkat)(folder, name, flags), note('U', 0, 0, NULL, 0, path));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t mode) {
  char path[PATH_MAX];
  if (action == OFF || !path_at(folder, name, path)) PASSED(mkdirat, folder, name, mode);
  RUN(GROWS, -1, REAL(mkdirat)(folder, name, mode), note('M', inode_at(path), 0, NULL, 0, path));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int linkat(int from, const char *old, int to, const char *new, int flags) {
  char path[PATH_MAX];
  if (action == OFF || !path_at(to, new, path)) PASSED(linkat, from, old, to, new, flags);
  RUN(GROWS, -1, REAL(linkat)(from, old, to, new, flags),
      note('C', inode_at(path), 0, NULL, 0, path));
}
int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

/* Reading */

ssize_t read(int fd, void *data, size_t n) {
  char path[PATH_MAX];
  if (action != READ_ERROR && action != COUNT) PASSED(read, fd, data, n);
  if (!path_of(fd, path)) PASSED(read, fd, data, n);
  RUN(READS, -1, REAL(read)(fd, data, n), (void)0);
}
#define PREAD(name, offset_type)                                                  \
  ssize_t name(int fd, void *data, size_t n, offset_type offset) {                \
    char path[PATH_MAX];                                                          \
    if (action != READ_ERROR && action != COUNT) PASSED(name, fd, data, n, offset); \
    if (!path_of(fd, path)) PASSED(name, fd, data, n, offset);                    \
    RUN(READS, -1, REAL(name)(fd, data, n, offset), (void)0);                     \
  }
PREAD(pread, off_t)
PREAD(pread64, off64_t)
