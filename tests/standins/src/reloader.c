/* reloader DIRECTORY FILE: what a program does that reloads its configuration. It watches a directory and a file in it,
   says each event, and what the file holds whenever ..data was replaced. */
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static void reload(const char *path)
{
    char text[256];
    FILE *file = fopen(path, "r");
    if (file && fgets(text, sizeof text, file))
        printf("reloaded %s\n", text);
    else
        printf("reloaded nothing\n");
    if (file)
        fclose(file);
}

int main(int count, char **arguments)
{
    char buffer[65536] __attribute__((aligned(8)));
    const unsigned all = IN_ALL_EVENTS & ~(IN_ACCESS | IN_OPEN | IN_CLOSE_NOWRITE);
    int fd = inotify_init();
    if (count != 3 || inotify_add_watch(fd, arguments[1], all) < 0 || inotify_add_watch(fd, arguments[2], all) < 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    reload(arguments[2]);
    for (;;) {
        ssize_t length = read(fd, buffer, sizeof buffer);
        if (length <= 0)
            return 1;
        for (char *at = buffer; at < buffer + length; at += sizeof(struct inotify_event) + ((struct inotify_event *)at)->len) {
            struct inotify_event *event = (struct inotify_event *)at;
            const char *name = event->len ? event->name : "-";
            printf("event %d %x %s\n", event->wd, event->mask, name);
            if (!strcmp(name, "..data") && event->mask & IN_MOVED_TO)
                reload(arguments[2]);
        }
    }
}
