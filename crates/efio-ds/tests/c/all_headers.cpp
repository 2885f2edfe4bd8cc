/* All headers in one unit of C++, where each is whole. */
#include "all_headers.h"
#include "all_headers.h"
#include "check.h"

static struct ev_rwlock_s rwlock;
static atomic_int done = {0};

int main()
{
    ev_queue_type queue = create_ev_queue();
    ev_pqueue_type pqueue = create_ev_pqueue(2);
    ev_piqueue_type piqueue = create_ev_piqueue(2);
    ev_paqueue_type paqueue = create_evpaq(2);
    ev_stack_type stack = create_ev_stack();
    spin_lock_p_type spin = create_spin_lock();
    ev_mcs_lock_type mcs;
    char *chars = buffer_allocator<char>::allocate(4);

    CHECK(queue && pqueue && piqueue && paqueue && stack && ev_spin_try_lock(spin) == 1);
    mcs_init(&mcs);
    CHECK(mcs_relinquish(&mcs, mcs_get_access(&mcs)) == 0);
    EV_RW_LOCK_S_INIT(rwlock);
    CHECK(ev_rwlock_wrlock(&rwlock) == 0 && ev_rwlock_wrunlock(&rwlock) == 0);
    atomic_store(&done, 1);
    CHECK(atomic_load(&done) == 1);
    buffer_allocator<char>::deallocate(chars, 4);
    destroy_spin_lock(spin);
    destroy_ev_stack(stack);
    destroy_evpaq(&paqueue);
    destroy_ev_piqueue(&piqueue);
    destroy_ev_pqueue(&pqueue);
    destroy_ev_queue(queue);
    memory_buffer_list list;
    chunked_memory_stream stream;
    ev_buffered_stream buffered(&stream, 1024);
    CHECK(list.get_head() == 0 && stream.get_next(0) == 0 && buffered.sgetc() == EOF);
    return 0;
}
