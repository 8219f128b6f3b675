#define _GNU_SOURCE
#include "shim.h"

#include <rte_log.h>
#include <rte_mempool.h>
#include <stdio.h>

#define BURST_MAX 64

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct shim_frame *frames, uint16_t max,
		       int stamp_offset, uint64_t stamp_flag)
{
	struct rte_mbuf *mbufs[BURST_MAX];
	uint16_t n = rte_eth_rx_burst(port, queue, mbufs, RTE_MIN(max, BURST_MAX));

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = mbufs[i];

		frames[i].mbuf = m;
		frames[i].data = rte_pktmbuf_mtod(m, const uint8_t *);
		frames[i].len = rte_pktmbuf_pkt_len(m);
		frames[i].held = rte_pktmbuf_data_len(m);
		frames[i].stamp = 0;
		if (stamp_offset >= 0 && (m->ol_flags & stamp_flag) != 0)
			frames[i].stamp = *RTE_MBUF_DYNFIELD(m, stamp_offset, rte_mbuf_timestamp_t *);
	}
	return n;
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

struct rte_mbuf *shim_alloc(struct rte_mempool *pool, uint8_t **data, uint16_t room)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (m == NULL)
		return NULL;
	if (rte_pktmbuf_tailroom(m) < room) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	*data = rte_pktmbuf_mtod(m, uint8_t *);
	return m;
}

void shim_set_len(struct rte_mbuf *mbuf, uint16_t len)
{
	mbuf->data_len = len;
	mbuf->pkt_len = len;
}

void shim_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

uint32_t shim_available(const struct rte_mempool *pool)
{
	return rte_mempool_avail_count(pool);
}

int shim_errno(void)
{
	return rte_errno;
}

static void (*log_sink)(const char *line, size_t len);

static ssize_t log_write(void *cookie, const char *bytes, size_t len)
{
	(void)cookie;
	log_sink(bytes, len);
	return len;
}

int shim_log_to(void (*sink)(const char *line, size_t len))
{
	cookie_io_functions_t io = {.write = log_write};
	FILE *stream;

	log_sink = sink;
	stream = fopencookie(NULL, "w", io);
	if (stream == NULL)
		return -1;
	setvbuf(stream, NULL, _IOLBF, 0);
	return rte_openlog_stream(stream);
}
