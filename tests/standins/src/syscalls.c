/* Tries system calls: `syscalls NAME=ARGUMENT,... ...` prints for each its name and error, or "ok".
 * Arguments that are not given are -1: no pointer, descriptor or set of flags that a kernel takes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL(name) {#name, SYS_##name}

static const struct { const char *name; long number; } calls[] = {
    CALL(acct), CALL(add_key), CALL(bpf), CALL(chroot), CALL(clock_settime), CALL(clone), CALL(clone3),
    CALL(close_range), CALL(delete_module), CALL(fanotify_init), CALL(finit_module), CALL(fsconfig), CALL(fsmount),
    CALL(fsopen), CALL(fspick), CALL(getcpu), CALL(get_mempolicy), CALL(init_module), CALL(io_pgetevents),
    CALL(io_uring_enter), CALL(io_uring_register), CALL(io_uring_setup), CALL(ioperm), CALL(iopl), CALL(kcmp),
    CALL(kexec_file_load), CALL(kexec_load), CALL(keyctl), CALL(landlock_create_ruleset), CALL(lookup_dcookie),
    CALL(mbind), CALL(memfd_create), CALL(memfd_secret), CALL(migrate_pages), CALL(modify_ldt), CALL(mount),
    CALL(mount_setattr), CALL(move_mount), CALL(move_pages), CALL(name_to_handle_at), CALL(open_by_handle_at),
    CALL(open_tree), CALL(openat2), CALL(perf_event_open), CALL(personality), CALL(pidfd_getfd), CALL(pidfd_open),
    CALL(pivot_root), CALL(process_madvise), CALL(process_vm_readv), CALL(process_vm_writev), CALL(ptrace),
    CALL(query_module), CALL(quotactl), CALL(quotactl_fd), CALL(reboot), CALL(request_key), CALL(rseq),
    CALL(seccomp), CALL(set_mempolicy), CALL(setdomainname), CALL(sethostname), CALL(setns), CALL(settimeofday),
    CALL(socket), CALL(swapoff), CALL(swapon), CALL(syslog), CALL(sysfs), CALL(umount2), CALL(unshare),
    CALL(uselib), CALL(userfaultfd), CALL(ustat), CALL(vhangup), CALL(vmsplice),
};

static long number_of(const char *name)
{
    for (size_t each = 0; each < sizeof calls / sizeof *calls; each++)
        if (strcmp(calls[each].name, name) == 0)
            return calls[each].number;
    fprintf(stderr, "there is no call %s in the table\n", name);
    exit(2);
}

static void try(char *asked)
{
    long arguments[6] = {-1, -1, -1, -1, -1, -1};
    char *given = asked, *name = strsep(&given, "="), *argument;
    long number = number_of(name);

    for (int each = 0; each < 6 && (argument = strsep(&given, ",")); each++)
        arguments[each] = strtol(argument, NULL, 0);
    pid_t child = fork();
    if (child == 0) { /* what a call changes is the child's alone, as is a child of clone */
        pid_t self = getpid();
        long result =
            syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
        if (getpid() == self)
            printf("%s %s\n", name, result == -1 ? strerrorname_np(errno) : "ok");
        _exit(0);
    }
    waitpid(child, NULL, 0); /* and no orphan, of which there may be some where this is PID 1 */
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IONBF, 0); /* a process that is forked has nothing to print twice */
    for (int each = 1; each < count; each++)
        try(words[each]);
    return 0;
}
