/* Asks the kernel what busybox has no command for: `probe QUESTION [PATH...]`. It prints one line per answer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/keyctl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, long result)
{
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
}

static int opened(const char *path, int flags)
{
    int file = open(path, flags, 0666);
    if (file < 0) {
        say(path, file);
        exit(1);
    }
    return file;
}

/* What a container's seccomp profile, capabilities and the kernel say of calls that administer a machine. */
static void calls(char **paths)
{
    (void)paths;
    say("add_key", syscall(SYS_add_key, "user", "probe", "x", 1L, KEY_SPEC_PROCESS_KEYRING));
    say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1));
    say("mount", mount("none", "/proc/self/nothing", "tmpfs", 0, ""));
    say("unshare", unshare(CLONE_NEWNS));
    say("setns", setns(-1, 0));
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
    say("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    say("userfaultfd", syscall(SYS_userfaultfd, 0));
    say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    say("swapon", syscall(SYS_swapon, "/proc/self/nothing", 0));
    say("settimeofday", syscall(SYS_settimeofday, NULL, (void *)1));
    say("acct", syscall(SYS_acct, "/proc/self/nothing"));
    say("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
    say("fanotify_init", syscall(SYS_fanotify_init, 0xffff, 0));
    say("syslog", syscall(SYS_syslog, 9, NULL, 0));
    say("pivot_root", syscall(SYS_pivot_root, "/proc/self/nothing", "/"));
    say("process_vm_readv", syscall(SYS_process_vm_readv, getpid(), NULL, 0L, NULL, 0L, 0L));
    say("set_mempolicy", syscall(SYS_set_mempolicy, 0, NULL, 0L));
    say("personality", syscall(SYS_personality, 0xffffffffL));
    say("clone of a user namespace", syscall(SYS_unshare, CLONE_NEWUSER));
}

static void mapping(char **paths)
{
    int file = opened(paths[0], O_RDWR | O_CREAT);
    char read_back[2] = "";
    say("truncate", ftruncate(file, 8192));
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) {
        say("mmap", -1);
        return;
    }
    memory[5000] = 'm';
    say("pread", pread(file, read_back, 1, 5000));
    say("pwrite", pwrite(file, "w", 1, 5001));
    printf("the file has %s, the memory %c\n", read_back, memory[5001]);
    say("msync", msync(memory, 8192, MS_SYNC));
}

static void copies(char **paths)
{
    int from = opened(paths[0], O_RDONLY), to = opened(paths[1], O_RDWR | O_CREAT), pipes[2];
    off_t start = 0;
    printf("sendfile %zd\n", sendfile(to, from, &start, 4));
    start = 0;
    printf("copy_file_range %zd\n", copy_file_range(from, &start, to, NULL, 4, 0));
    say("pipe", pipe(pipes));
    start = 0;
    printf("splice %zd", splice(from, &start, pipes[1], NULL, 4, 0));
    printf(" %zd\n", splice(pipes[0], NULL, to, NULL, 4, 0));
}

static void allocation(char **paths)
{
    int file = opened(paths[0], O_RDWR | O_CREAT);
    say("allocate", fallocate(file, 0, 0, 65536));
    say("beyond the end", fallocate(file, FALLOC_FL_KEEP_SIZE, 65536, 65536));
    say("punch a hole", fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4096, 4096));
    say("zero", fallocate(file, FALLOC_FL_ZERO_RANGE, 8192, 4096));
    printf("size %jd\n", (intmax_t)lseek(file, 0, SEEK_END));
}

static void collapsing(char **paths)
{
    int file = opened(paths[0], O_RDWR | O_CREAT);
    say("allocate", fallocate(file, 0, 0, 65536));
    say("collapse", fallocate(file, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096));
}

static void renames(char **paths)
{
    say("rename", rename(paths[0], paths[1]));
    say("link", link(paths[0], paths[1]));
}

static void exchange(char **paths)
{
    say("no replacement", renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_NOREPLACE));
    say("exchange", renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_EXCHANGE));
}

static void direct(char **paths)
{
    int file = opened(paths[0], O_RDWR | O_CREAT | O_DIRECT);
    char *block = aligned_alloc(4096, 4096);
    memset(block, 'd', 4096);
    say("write", pwrite(file, block, 4096, 0));
    say("read", pread(file, block, 4096, 0));
}

static void locks(char **paths)
{
    int file = opened(paths[0], O_RDWR | O_CREAT);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    say("lock", fcntl(file, F_SETLK, &all));
    if (fork() == 0) {
        file = opened(paths[0], O_RDWR);
        say("lock of another process", fcntl(file, F_SETLK, &all));
        say("lock of an open file", fcntl(file, F_OFD_SETLK, &all));
        exit(0);
    }
    wait(NULL);
    say("lease", fcntl(file, F_SETLEASE, F_WRLCK));
}

static void sockets(char **paths)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", paths[0]);
    say("bind", bind(server, (struct sockaddr *)&name, sizeof name));
    say("listen", listen(server, 1));
    say("connect", connect(client, (struct sockaddr *)&name, sizeof name));
}

static void loopback(char **paths)
{
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(4000), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int server = socket(AF_INET6, SOCK_STREAM, 0), client = socket(AF_INET6, SOCK_STREAM, 0);
    (void)paths;
    say("bind", bind(server, (struct sockaddr *)&name, sizeof name));
    say("listen", listen(server, 1));
    say("connect", connect(client, (struct sockaddr *)&name, sizeof name));
}

static void kinds(char **paths)
{
    struct sockaddr_in low = {.sin_family = AF_INET, .sin_port = htons(443)};
    (void)paths;
    say("ping", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    say("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    say("packet", socket(AF_PACKET, SOCK_RAW, 0));
    say("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
    say("port 443", bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&low, sizeof low));
}

static void descriptors(char **paths)
{
    struct itimerspec soon = {.it_value.tv_nsec = 1000};
    int timer = timerfd_create(CLOCK_MONOTONIC, 0), memory = memfd_create("probe", 0);
    uint64_t ticks = 0;
    sigset_t signals;
    (void)paths;
    sigemptyset(&signals);
    say("timerfd", timerfd_settime(timer, 0, &soon, NULL));
    say("read", read(timer, &ticks, sizeof ticks));
    say("eventfd", eventfd(0, 0));
    say("signalfd", signalfd(-1, &signals, 0));
    say("pidfd", syscall(SYS_pidfd_open, getpid(), 0));
    say("sealable memory", fcntl(memfd_create("probe", MFD_ALLOW_SEALING), F_ADD_SEALS, F_SEAL_WRITE));
    say("write", write(memory, "#!/bin/echo\n", 12));
    fflush(stdout);
    say("run", fexecve(memory, (char *[]){"run", NULL}, environ));
}

static void tracing(char **paths)
{
    int status = 0;
    pid_t child = fork();
    (void)paths;
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("stopped %d\n", WIFSTOPPED(status));
    say("peek", ptrace(PTRACE_PEEKUSER, child, 0, NULL));
    say("continue", ptrace(PTRACE_CONT, child, NULL, NULL));
}

static void priorities(char **paths)
{
    struct sched_param first = {.sched_priority = 1};
    struct rlimit more = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    (void)paths;
    say("lower", setpriority(PRIO_PROCESS, 0, 5));
    say("higher", setpriority(PRIO_PROCESS, 0, -5));
    say("real time", sched_setscheduler(0, SCHED_FIFO, &first));
    say("nothing else", sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}));
    say("messages without end", setrlimit(RLIMIT_MSGQUEUE, &more));
}

static const struct {
    const char *name;
    void (*ask)(char **paths);
} questions[] = {
    {"calls", calls},       {"mapping", mapping},   {"copies", copies},           {"allocation", allocation},
    {"renames", renames},   {"exchange", exchange}, {"direct", direct},           {"locks", locks},
    {"sockets", sockets},   {"loopback", loopback}, {"kinds", kinds},             {"descriptors", descriptors},
    {"tracing", tracing},   {"collapsing", collapsing}, {"priorities", priorities},
};

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t each = 0; count > 1 && each < sizeof questions / sizeof *questions; each++)
        if (strcmp(questions[each].name, arguments[1]) == 0) {
            questions[each].ask(arguments + 2);
            return 0;
        }
    fprintf(stderr, "probe: no such question\n");
    return 2;
}
