/* What two processes that share a file can do by it: `meet VERB PATH`. Each verb prints one word. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int say(const char *word)
{
    puts(word);
    fflush(stdout);
    return 0;
}

static int lock(const char *path, int posix, int hold)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open(path, O_RDWR);
    if (fd < 0)
        return perror(path), 2;
    if (posix ? fcntl(fd, F_SETLK, &whole) : flock(fd, LOCK_EX | LOCK_NB))
        return say("refused");
    say("granted");
    if (hold)
        pause();
    return 0;
}

static int meet(const char *path, int listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (listens) {
        if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8))
            return perror(path), 2;
        say("listens");
        pause();
    }
    return say(connect(fd, (struct sockaddr *)&address, sizeof address) ? "refused" : "connected");
}

static int map(const char *path, int writes)
{
    int fd = open(path, O_RDWR);
    volatile char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return perror(path), 2;
    if (writes) {
        page[0] = '!';
        say("written");
        pause();
    }
    for (int tries = 0; page[0] != '!' && tries < 30; tries++)
        usleep(100000);
    return say(page[0] == '!' ? "seen" : "not seen");
}

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    const char *verb = words[1], *path = words[2];
    if (!strcmp(verb, "hold-flock")) return lock(path, 0, 1);
    if (!strcmp(verb, "try-flock")) return lock(path, 0, 0);
    if (!strcmp(verb, "hold-fcntl")) return lock(path, 1, 1);
    if (!strcmp(verb, "try-fcntl")) return lock(path, 1, 0);
    if (!strcmp(verb, "listen")) return meet(path, 1);
    if (!strcmp(verb, "connect")) return meet(path, 0);
    if (!strcmp(verb, "map-write")) return map(path, 1);
    if (!strcmp(verb, "map-read")) return map(path, 0);
    return 2;
}
