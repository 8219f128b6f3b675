// The model of the RTL behind a C interface: one call, one clock cycle. The layouts are those of `dut.rs`.
#include "Vnic.h"
#include "verilated.h"
#include <cstdint>

struct Pins {
  uint64_t time_ns, tdata;
  uint32_t wdata;
  uint16_t awaddr, araddr;
  uint8_t rst, tkeep, tvalid, tlast, m_ready, r_ready;
  uint8_t awvalid, wvalid, wstrb, bready, arvalid, rready;
};

struct Seen {
  uint64_t m_tdata, r_tdata;
  uint32_t rdata;
  uint8_t tready, m_tvalid, m_tlast, r_tvalid, r_tlast, verdict_valid, verdict, reason;
  uint8_t awready, bvalid, bresp, arready, rvalid, rresp, pad[2];
};

struct Model {
  VerilatedContext context;
  Vnic top{&context};
};

double sc_time_stamp() { return 0; }

extern "C" Model *nic_new() { return new Model; }
extern "C" void nic_free(Model *m) {
  m->top.final();
  delete m;
}

extern "C" void nic_cycle(Model *m, const Pins *in, Seen *out) {
  Vnic &t = m->top;
  t.clk = 0;
  t.rst = in->rst;
  t.time_ns = in->time_ns;
  t.s_axis_tdata = in->tdata;
  t.s_axis_tkeep = in->tkeep;
  t.s_axis_tvalid = in->tvalid;
  t.s_axis_tlast = in->tlast;
  t.m_axis_tready = in->m_ready;
  t.m_reject_tready = in->r_ready;
  t.s_axil_awaddr = in->awaddr;
  t.s_axil_awvalid = in->awvalid;
  t.s_axil_wdata = in->wdata;
  t.s_axil_wstrb = in->wstrb;
  t.s_axil_wvalid = in->wvalid;
  t.s_axil_bready = in->bready;
  t.s_axil_araddr = in->araddr;
  t.s_axil_arvalid = in->arvalid;
  t.s_axil_rready = in->rready;
  t.eval();
  out->m_tdata = t.m_axis_tdata;
  out->r_tdata = t.m_reject_tdata;
  out->rdata = t.s_axil_rdata;
  out->tready = t.s_axis_tready;
  out->m_tvalid = t.m_axis_tvalid;
  out->m_tlast = t.m_axis_tlast;
  out->r_tvalid = t.m_reject_tvalid;
  out->r_tlast = t.m_reject_tlast;
  out->verdict_valid = t.verdict_valid;
  out->verdict = t.verdict;
  out->reason = t.reason;
  out->awready = t.s_axil_awready;
  out->bvalid = t.s_axil_bvalid;
  out->bresp = t.s_axil_bresp;
  out->arready = t.s_axil_arready;
  out->rvalid = t.s_axil_rvalid;
  out->rresp = t.s_axil_rresp;
  t.clk = 1;
  t.eval();
}
