/* Says which user it acts as. The image has it set-user-id root, which no_new_privs takes away. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    printf("Effective uid: %d\n", (int)geteuid());
    return 0;
}
