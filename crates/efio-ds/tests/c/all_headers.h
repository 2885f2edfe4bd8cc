/* Every header at once, each twice. */
#include "ev_queue.h"
#include "ev_pqueue.h"
#include "ev_piqueue.h"
#include "ev_paqueue.h"
#include "ev_stack.h"
#include "ev_spin_lock.h"
#include "ev_mcs_lock.h"
#include "ev_rwlock.h"
#include "ev_rwlock_struct.h"
#include "efio_ds_atomics.h"
#include "efio_ds_stream.h"
#ifdef __cplusplus
#include "memory_buffer_list.h"
#include "chunked_memory_stream.h"
#include "ev_buffered_stream.h"
#endif
