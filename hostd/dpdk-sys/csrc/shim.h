/* What the crate binds: DPDK's headers, and what they offer only as macros and static inline functions. */
#ifndef DPDK_SHIM_H
#define DPDK_SHIM_H

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_epoll.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

enum {
	SHIM_RX_OFFLOAD_TIMESTAMP = RTE_ETH_RX_OFFLOAD_TIMESTAMP,
	SHIM_TX_OFFLOAD_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE,
	SHIM_INTR_ADD = RTE_INTR_EVENT_ADD,
	SHIM_MBUF_LEN = RTE_MBUF_DEFAULT_BUF_SIZE,
};

/* A frame that was received. It belongs to the caller, who frees the mbuf. */
struct shim_frame {
	struct rte_mbuf *mbuf;
	const uint8_t *data;
	/* Length on the wire; of a frame in several segments only `held` bytes lie at `data`. */
	uint32_t len;
	uint32_t held;
	/* The device's time of arrival, 0 if it gave none. */
	uint64_t stamp;
};

/* Takes at most `max` frames (64 at most) of a queue. `stamp_offset` and `stamp_flag` are what
 * rte_mbuf_dyn_rx_timestamp_register gave; a negative offset reads no times. */
uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct shim_frame *frames, uint16_t max,
		       int stamp_offset, uint64_t stamp_flag);

/* Hands `n` frames over to a queue; what it did not take still belongs to the caller. */
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

/* An empty frame with `room` bytes at `*data`, or NULL if the pool has none or its frames are smaller. */
struct rte_mbuf *shim_alloc(struct rte_mempool *pool, uint8_t **data, uint16_t room);

/* Says how long a frame from shim_alloc is: at most the room that was asked for. */
void shim_set_len(struct rte_mbuf *mbuf, uint16_t len);

void shim_free(struct rte_mbuf *mbuf);

/* Frames of the pool that nobody holds. */
uint32_t shim_available(const struct rte_mempool *pool);

/* The thread's rte_errno. */
int shim_errno(void);

/* Sends DPDK's log to `sink`, a line a call, from now on and instead of standard output. */
int shim_log_to(void (*sink)(const char *line, size_t len));

#endif
