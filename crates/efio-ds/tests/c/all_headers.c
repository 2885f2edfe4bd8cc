/* All headers in one unit of C, where each is whole. */
#include "all_headers.h"
#include "all_headers.h"
#include "check.h"

static struct ev_rwlock_s rwlock;

int main(void)
{
    ev_queue_type queue = create_ev_queue();
    ev_pqueue_type pqueue = create_ev_pqueue(2);
    ev_piqueue_type piqueue = create_ev_piqueue(2);
    ev_paqueue_type paqueue = create_evpaq(2);
    ev_stack_type stack = create_ev_stack();
    spin_lock_p_type spin = create_spin_lock();
    spin_lock_s_type *same = spin;
    ev_mcs_lock_type mcs;
    efio_ds_stream *stream = efio_ds_stream_create();

    CHECK(queue && pqueue && piqueue && paqueue && stack && stream && ev_spin_try_lock(same) == 1);
    mcs_init(&mcs);
    CHECK(mcs_relinquish(&mcs, mcs_get_access(&mcs)) == 0);
    CHECK(ev_rwlock_wrlock(&rwlock) == 0 && ev_rwlock_wrunlock(&rwlock) == 0);
    destroy_spin_lock(spin);
    destroy_ev_stack(stack);
    destroy_evpaq(&paqueue);
    destroy_ev_piqueue(&piqueue);
    destroy_ev_pqueue(&pqueue);
    destroy_ev_queue(queue);
    efio_ds_stream_destroy(stream);
    return 0;
}
