/* What ev_stack.h says, in one thread: and a pop gives its place back, so a million pairs take no memory. */
#include "ev_stack.h"
#include "check.h"

int main(int argc, char **argv)
{
    ev_stack_type stack = create_ev_stack();
    long pairs = ARGUMENT(1, 1000000);
    int payload;

    QUIETLY(pop(stack) == NULL);
    for (uintptr_t number = 1; number <= 1000; number++) QUIETLY((push(stack, (void *)number), 1));
    for (uintptr_t number = 1000; number >= 1; number--) QUIETLY(pop(stack) == (void *)number);
    CHECK(pop(stack) == NULL);
    for (long pair = 0; pair < pairs; pair++) {
        push(stack, &payload);
        CHECK(pop(stack) == &payload);
    }
    /* What is left is not freed: this would abort. */
    push(stack, &payload);
    QUIETLY((destroy_ev_stack(stack), 1));
    REFUSED(EINVAL, (push(NULL, &payload), 1));
    REFUSED(EINVAL, pop(NULL) == NULL);
    REFUSED(EINVAL, (destroy_ev_stack(NULL), 1));
    return 0;
}
