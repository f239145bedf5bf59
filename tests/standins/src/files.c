/* Calls on files that no command of the image makes: files tmpfile DIRECTORY NAME, files rename FLAGS OLD NEW. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int answer(const char *call, int result)
{
    printf("%s: %s\n", call, result < 0 ? strerror(errno) : "done");
    return result < 0;
}

/* A file without a name, which gets one. */
static int temporary(const char *directory, const char *name)
{
    char path[64];
    int fd = open(directory, O_TMPFILE | O_RDWR, 0640);
    if (fd < 0 || write(fd, "written\n", 8) != 8)
        return answer("O_TMPFILE", -1);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return answer("linkat", linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
}

int main(int count, char **words)
{
    if (count == 4 && strcmp(words[1], "tmpfile") == 0)
        return temporary(words[2], words[3]);
    if (count == 5 && strcmp(words[1], "rename") == 0)
        return answer("renameat2", renameat2(AT_FDCWD, words[3], AT_FDCWD, words[4], atoi(words[2])));
    return 2;
}
