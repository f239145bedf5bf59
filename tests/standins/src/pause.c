/* Does nothing until it is asked to end; reaps what is left to it, as PID 1 of a namespace must. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number)
{
    (void)number;
    _exit(0);
}

int main(void)
{
    signal(SIGINT, end);
    signal(SIGTERM, end);
    for (;;)
        if (waitpid(-1, NULL, 0) < 0)
            pause();
}
