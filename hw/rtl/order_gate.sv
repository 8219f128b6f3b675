// Session window, tag, decode and gate: twin of firmware/src/{session,wire,gate}. One frame at a time, in order.
//
// cycle 0  the job is seen: the tables are asked
// cycle 2  rows are here: window, bucket, products of the price, plain fields
// cycle 6  all checks are there, and the first reason is picked; with a tag to check, its lane is waited for here
// cycle 7  the verdict is made of it, and what is written back
// cycle 8  both are out: the next job is seen after it
`default_nettype none
module order_gate #(
    parameter int SESSIONS_LG = 10,
    parameter int ACCOUNTS_LG = 14,
    parameter int JOB_BITS = 1111,
    parameter int SESSION_BITS = 82,
    parameter int FLOW_BITS = 128,
    parameter int INSTRUMENT_BITS = 512
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire                        is_overloaded,
    // The next frame.
    input  wire                        job_valid,
    input  wire  [       JOB_BITS-1:0] job_head,
    output logic                       job_pop,
    input  wire                        sums_valid,
    input  wire  [                1:0] sums_head,
    output logic                       sums_pop,
    input  wire                        tag_done,
    input  wire  [              127:0] tag,
    output logic                       lane_ack,
    // Tables, two cycles from address to row.
    output logic [    SESSIONS_LG-1:0] session_addr,
    input  wire  [   SESSION_BITS-1:0] session_row,
    input  wire  [              112:0] window_row,
    input  wire  [      FLOW_BITS-1:0] flow_row,
    input  wire  [               93:0] bucket_row,
    output logic [    ACCOUNTS_LG-1:0] account_addr,
    input  wire  [               12:0] account_row,
    output logic [                7:0] instrument_addr,
    input  wire  [INSTRUMENT_BITS-1:0] instrument_row,
    output logic                       window_we,
    output logic [              112:0] window_next,
    output logic                       flow_we,
    output logic [      FLOW_BITS-1:0] flow_next,
    output logic                       bucket_we,
    output logic [               93:0] bucket_next,
    // The verdict, once for each frame; it waits while a descriptor has no place to go.
    input  wire                        out_free,
    output logic                       verdict_valid,
    output logic [                1:0] verdict,
    output logic [                7:0] reason,
    output logic [              767:0] descriptor
);
  `include "deltabox.svh"
  `include "job.svh"

  logic [7:0] at;  // One bit for each of the cycles 1 to 8.
  wire idle = at == '0;
  assign job_pop = idle && job_valid;
  logic [JOB_BITS-1:0] job;
  // Once the job is taken its own row stays asked for.
  assign session_addr = job_pop ? job_head[JOB_P0+32+:SESSIONS_LG] : job[JOB_P0+32+:SESSIONS_LG];
  assign account_addr = job_pop ? job_head[JOB_ACCOUNT+:ACCOUNTS_LG] : job[JOB_ACCOUNT+:ACCOUNTS_LG];
  assign instrument_addr = job_pop ? job_head[JOB_INSTRUMENT+:8] : job[JOB_INSTRUMENT+:8];

  logic [31:0] frame_no;
  always_ff @(posedge clk) begin
    if (job_pop) job <= job_head;
  end

  // ---- The job by name.
  wire [63:0] b[7];
  for (genvar i = 0; i < 7; i++) begin : g_b
    assign b[i] = job[JOB_BLOCK+64*i+:64];
  end
  wire [31:0] account = job[JOB_ACCOUNT+:32];
  wire [15:0] instrument = job[JOB_INSTRUMENT+:16];
  wire [15:0] message_size = job[JOB_MESSAGE+:16];
  wire [15:0] block_len = job[JOB_MESSAGE+16+:16];
  wire [15:0] template_id = job[JOB_MESSAGE+32+:16];
  wire [15:0] schema = job[JOB_MESSAGE+48+:16];
  wire [7:0] version = job[JOB_P0+:8];
  wire [7:0] kind = job[JOB_P0+8+:8];
  wire [15:0] length_field = job[JOB_P0+16+:16];
  wire [31:0] conn_id = job[JOB_P0+32+:32];
  wire [63:0] packet_no = job[JOB_P1+:64];
  wire [63:0] seq_no = job[JOB_P2+:64];
  wire [63:0] ack_no = job[JOB_P3+:64];
  wire [15:0] length = job[JOB_LENGTH+:16];
  wire [63:0] rx_time = job[JOB_TIME+:64];
  wire [5:0] fault_a = job[JOB_FAULT_A+:6];
  wire [5:0] fault_b = job[JOB_FAULT_B+:6];
  wire [5:0] fault_c = job[JOB_FAULT_C+:6];
  wire is_arp = job[JOB_IS_ARP];

  // What hangs on the kind of request is picked in cycle 1, so that it meets the rows in cycle 2.
  logic is_new, is_replace, is_reduce, is_cancel, is_mass;
  logic [63:0] price, lots;
  wire [63:0] cl_ord_id = b[0];
  always_ff @(posedge clk) begin
    is_new <= template_id == TEMPLATE_NEW_ORDER;
    is_replace <= template_id == TEMPLATE_REPLACE;
    is_reduce <= template_id == TEMPLATE_REDUCE;
    is_cancel <= template_id == TEMPLATE_CANCEL;
    is_mass <= template_id == TEMPLATE_MASS_CANCEL;
    price <= template_id == TEMPLATE_NEW_ORDER ? b[1] : b[3];
    lots <= template_id == TEMPLATE_NEW_ORDER ? b[2] : template_id == TEMPLATE_REPLACE ? b[4] : b[3];
  end
  wire [7:0] side = b[5][55:48], ord_type = b[5][63:56];
  wire [7:0] tif = b[6][7:0], flags = b[6][15:8], stp = b[6][23:16], mmp = b[6][31:24];
  wire [7:0] replace_flags = b[5][55:48];
  wire [7:0] mass_side = b[1][55:48], mass_scope = b[1][63:56], mass_group = b[2][7:0];

  // ---- Rows, from cycle 2 on.
  wire [31:0] row_conn_id = session_row[31:0];
  wire [12:0] row_member = session_row[44:32];
  wire row_valid = session_row[45];
  wire [2:0] row_suite = session_row[48:46];
  wire row_known = session_row[49];
  wire row_read_only = session_row[50];
  wire [30:0] row_cost = session_row[81:51];
  wire [48:0] top = window_row[48:0];
  wire [63:0] seen = window_row[112:49];
  wire [62:0] expected = flow_row[62:0];
  wire held = flow_row[63];
  wire [63:0] last_id = flow_row[127:64];
  wire signed [63:0] price_min = instrument_row[383:320];
  wire signed [63:0] price_max = instrument_row[447:384];
  wire signed [63:0] coarse_from = instrument_row[319:256];
  wire [31:0] lots_max = instrument_row[479:448];
  wire [5:0] tick_shift = instrument_row[485:480];
  wire [5:0] coarse_shift = instrument_row[491:486];
  wire listed = instrument_row[492];
  wire has_coarse = instrument_row[493];
  wire tick_is_one = instrument_row[494];
  wire coarse_is_one = instrument_row[495];

  // ---- Price: question in cycle 2, answer in cycle 6.
  logic on_tick, on_coarse;
  logic [31:0] ticks, coarse_unused;
  tick_check fine (
      .clk, .price, .inverse(instrument_row[63:0]), .quotient_max(instrument_row[127:64]),
      .is_one(tick_is_one), .shift(tick_shift), .is_multiple(on_tick), .quotient(ticks)
  );
  tick_check coarse (
      .clk, .price, .inverse(instrument_row[191:128]), .quotient_max(instrument_row[255:192]),
      .is_one(coarse_is_one), .shift(coarse_shift), .is_multiple(on_coarse), .quotient(coarse_unused)
  );

  // ---- Rate: question in cycle 2, answer in cycle 5.
  logic enough;
  logic [29:0] credit_after;
  logic [63:0] last_after;
  token_bucket bucket (
      .clk, .now(rx_time), .last(bucket_row[93:30]), .credit(bucket_row[29:0]), .cost(row_cost),
      .enough, .credit_after, .last_after
  );

  // ---- Window.
  logic keys_used_up, is_above, too_old, was_seen;
  logic [63:0] step, age;
  logic [63:0] seen_next;
  // ---- Tag.
  logic [127:0] tag_got;
  logic tag_zero, tag_equal, tag_checked;
  wire [191:0] tag_wide = job[JOB_TAG+:192] >> {job[JOB_TAG_SHIFT+:3], 3'd0};
  wire needs_tag = row_suite == SUITE_SIPHASH;

  // ---- Plain checks, in cycles 2 to 5.
  logic bad_version, bad_kind, bad_length, is_short, is_login, no_connection, bad_suite;
  logic is_request, seq_bad, seq_old, seq_gap;
  logic [15:0] block_need;
  always_comb begin
    block_need = 16'hffff;
    if (is_new) block_need = LEN_NEW_ORDER;
    if (is_replace) block_need = LEN_REPLACE;
    if (is_reduce) block_need = LEN_REDUCE;
    if (is_cancel) block_need = LEN_CANCEL;
    if (is_mass) block_need = LEN_MASS_CANCEL;
  end
  logic block_fits, size_fits, block_inside;
  logic account_wrong, not_rising, unlisted, bad_field, bad_expiry, out_of_band, needs_coarse, bad_lots;
  wire throttled = is_new || is_replace;
  wire has_price = (is_new && ord_type == 8'd0) || is_replace;
  wire at_once = tif == TIF_IOC || tif == TIF_FOK;
  wire is_gtd = tif == TIF_GTD;
  logic wrong_value, wrong_pair, lots_low, lots_high;
  wire account_all = is_mass && account == '1;
  wire any_instrument = is_mass && instrument == '1;
  wire [12:0] member_here = row_member;

  always_ff @(posedge clk) begin
    // Of the job alone: settled well before cycle 6.
    is_short <= length < 16'd48;
    bad_version <= version != DATAGRAM_VERSION;
    bad_kind <= kind > KIND_HEARTBEAT;
    bad_length <= length_field != length;
    is_login <= kind == KIND_CONTROL && conn_id == '0;
    size_fits <= message_size == length - 16'd48;
    block_fits <= block_len >= block_need && block_need != 16'hffff;
    block_inside <= {1'b0, block_len} + 17'd10 <= {1'b0, message_size};
    is_request <= size_fits && block_fits && block_inside && schema == SCHEMA_ID && kind == KIND_DATA;
    tag_got <= tag_wide[127:0];
    tag_zero <= tag_got == '0;
    tag_equal <= tag_got == tag;
    tag_checked <= tag_done;

    // With the rows: settled in cycle 3 or later.
    no_connection <= !row_valid || row_conn_id != conn_id;
    bad_suite <= row_suite != SUITE_NONE && row_suite != SUITE_SIPHASH;
    keys_used_up <= packet_no[63:49] != '0 || (packet_no[48] && packet_no[47:0] != '0);
    is_above <= packet_no > {15'd0, top};
    step <= packet_no - {15'd0, top};
    age <= {15'd0, top} - packet_no;
    too_old <= !is_above && age[63:6] != '0;
    was_seen <= !is_above && seen[age[5:0]];
    if (is_above) seen_next <= step[63:6] != '0 ? 64'd1 : (seen << step[5:0]) | 64'd1;
    else seen_next <= seen | (64'd1 << age[5:0]);

    seq_bad <= seq_no == '0 || seq_no[63:62] != '0;
    seq_old <= seq_no < {1'b0, expected};
    seq_gap <= seq_no > {1'b0, expected};

    account_wrong <= !account_all && (account[31:ACCOUNTS_LG] != '0 || account_row != member_here);
    not_rising <= throttled && cl_ord_id <= last_id;
    unlisted <= !any_instrument && (instrument[15:8] != '0 || !listed);
    wrong_value <= side > 8'd1 || ord_type > 8'd1 || tif > TIF_FOK || flags > 8'd7 || stp > 8'd3;
    wrong_pair <= (ord_type == 8'd1 && !at_once) || (flags[0] && at_once) || mmp > 8'd16;
    bad_field <= (is_new && (wrong_value || wrong_pair))
        || (is_replace && (replace_flags & 8'hf6) != '0)
        || (is_mass && ((mass_side != 8'hff && mass_side > 8'd1)
            || (mass_group != 8'hff && mass_group > 8'd16) || mass_scope > 8'd2));
    bad_expiry <= is_new && (is_gtd ? b[3] <= rx_time : b[3] != '0);
    needs_coarse <= has_coarse && $signed(price) >= coarse_from;
    out_of_band <= $signed(price) < price_min || $signed(price) > price_max;
    lots_low <= lots[63] || lots == '0;
    lots_high <= lots[62:32] != '0 || lots[31:0] > lots_max;
    bad_lots <= (is_new || is_replace || is_reduce)
        && (lots_low || (lots_high && !(is_replace && replace_flags[3])));
  end

  // ---- The first reason that applies, in the order of the firmware. A request is looked at by the gate only when
  // nothing before it applied.
  logic [7:0] reject;
  logic [7:0] drop, host;
  logic is_drop, is_host;
  logic [5:0] frame_fault;
  // The frame's part is known in cycle 5 at the latest: it is encoded a cycle ahead of the rest.
  always_comb begin
    frame_fault = '0;
    if (fault_a[5]) frame_fault = fault_a;
    else if (is_arp) frame_fault = '0;
    else if (!sums_head[0]) frame_fault = {1'b1, FAULT_IP_CHECKSUM};
    else if (fault_b[5]) frame_fault = fault_b;
    else if (job[JOB_HAS_SUM] && !sums_head[1]) frame_fault = {1'b1, FAULT_UDP_CHECKSUM};
    else if (fault_c[5]) frame_fault = fault_c;
  end
  logic [5:0] fault_q;
  logic bad_tag, after_mark, touches_flow, held_next, gate_runs, is_gated;
  always_comb begin
    bad_tag = row_suite == SUITE_NONE ? !tag_zero : !tag_equal;
    is_drop = 1'b1;
    is_host = 1'b0;
    drop = {2'd0, 1'b0, fault_q[4:0]};
    host = '0;
    after_mark = 1'b0;
    touches_flow = 1'b0;
    held_next = held;
    is_gated = 1'b0;
    if (fault_q[5]) begin
    end else if (is_arp) begin
      is_drop = 1'b0;
      is_host = 1'b1;
      host = HOST_ARP;
    end else if (is_short) drop = DROP_SHORT;
    else if (bad_version) drop = DROP_VERSION;
    else if (bad_kind) drop = DROP_KIND;
    else if (bad_length) drop = DROP_LENGTH;
    else if (is_login) begin
      is_drop = 1'b0;
      is_host = 1'b1;
      host = HOST_LOGIN;
    end else if (no_connection) drop = DROP_UNKNOWN_CONNECTION;
    else if (bad_suite) begin
      is_drop = 1'b0;
      is_host = 1'b1;
      host = HOST_SUITE;
    end else if (keys_used_up) drop = DROP_KEYS_USED_UP;
    else if (too_old) drop = DROP_TOO_OLD;
    else if (was_seen) drop = DROP_REPLAYED;
    else if (bad_tag) drop = DROP_BAD_TAG;
    else begin
      after_mark = 1'b1;
      if (held) begin
        is_drop = 1'b0;
        is_host = 1'b1;
        host = HOST_HELD;
      end else if (!is_request || seq_bad) begin
        is_drop = 1'b0;
        is_host = 1'b1;
        host = is_request ? HOST_SEQ_NO : HOST_REQUEST;
        held_next = 1'b1;
        touches_flow = 1'b1;
      end else if (seq_old) drop = DROP_DUPLICATE;
      else begin
        is_drop = 1'b0;
        touches_flow = 1'b1;
        is_gated = 1'b1;
      end
    end
    gate_runs = is_gated && row_known && !row_read_only;

    reject = '0;
    if (!row_known) reject = REJECT_UNKNOWN_ACCOUNT;
    else if (row_read_only) reject = REJECT_READ_ONLY;
    else if (throttled && !enough) reject = REJECT_THROTTLED;
    else if (is_overloaded && (is_replace || (is_new && !flags[1]))) reject = REJECT_OVERLOADED;
    else if (account_wrong) reject = REJECT_UNKNOWN_ACCOUNT;
    else if (not_rising) reject = REJECT_DUPLICATE_CL_ORD_ID;
    else if (unlisted) reject = REJECT_UNKNOWN_INSTRUMENT;
    else if (bad_field) reject = REJECT_INVALID_FIELD;
    else if (bad_expiry) reject = REJECT_INVALID_EXPIRY;
    else if (has_price && (!on_tick || (needs_coarse && !on_coarse))) reject = REJECT_PRICE_OFF_TICK;
    else if (has_price && out_of_band) reject = REJECT_PRICE_OUT_OF_BAND;
    else if (bad_lots) reject = REJECT_QUANTITY_OUT_OF_RANGE;
  end

  // ---- Step by step.
  logic [31:0] ticks_q;
  logic [1:0] kind_q;
  logic known_q, sums_settled;
  wire ready_for_verdict = sums_settled && out_free && (!needs_tag || tag_checked);
  wire waits = at[5] && !ready_for_verdict;
  wire decides = at[5] && ready_for_verdict;
  // The reasons of cycle 6, for cycle 7.
  logic decided, is_drop_q, is_host_q, after_mark_q, touches_flow_q, held_next_q, gate_runs_q, is_gated_q;
  logic [7:0] reject_q, drop_q, host_q;
  wire [1:0] verdict_now = is_drop_q ? VERDICT_DROPPED : is_host_q ? VERDICT_HOST
      : reject_q != '0 ? VERDICT_REFUSED : VERDICT_ADMITTED;
  assign sums_pop = decided;
  assign lane_ack = decided;
  always_ff @(posedge clk) begin
    if (waits) at <= at;
    else at <= {at[6:0], job_pop};
    fault_q <= frame_fault;
    sums_settled <= sums_valid;
    decided <= decides;
    {is_drop_q, is_host_q, after_mark_q, touches_flow_q} <= {is_drop, is_host, after_mark, touches_flow};
    {held_next_q, gate_runs_q, is_gated_q} <= {held_next, gate_runs, is_gated};
    {reject_q, drop_q, host_q} <= {reject, drop, host};
    verdict_valid <= decided;
    window_we <= decided && after_mark_q;
    flow_we <= decided && touches_flow_q;
    bucket_we <= decided && gate_runs_q && throttled;
    window_next <= {seen_next, is_above ? packet_no[48:0] : top};
    flow_next <= {
      is_gated_q && reject_q == '0 && throttled ? cl_ord_id : last_id,
      held_next_q,
      held_next_q ? expected : seq_no[62:0] + 63'd1
    };
    bucket_next <= {last_after, credit_after};
    if (decided) begin
      verdict <= verdict_now;
      reason <= is_drop_q ? drop_q : is_host_q ? host_q : reject_q;
      ticks_q <= is_new && ord_type != 8'd0 ? '0 : ticks;
      kind_q <= verdict_now;
      known_q <= is_gated_q || after_mark_q || (is_host_q && host_q == HOST_SUITE);
    end
    if (verdict_valid) frame_no <= frame_no + 32'd1;
    if (rst) begin
      at <= '0;
      decided <= 1'b0;
      verdict_valid <= 1'b0;
      window_we <= 1'b0;
      flow_we <= 1'b0;
      bucket_we <= 1'b0;
      frame_no <= '0;
    end
  end

  // ---- The descriptor, beside the verdict.
  logic [15:0] record;
  logic [63:0] w3, w4, w5, w6, w7;
  wire refused = kind_q == VERDICT_REFUSED;
  wire has_body = kind_q == VERDICT_ADMITTED || refused;
  wire [63:0] gap_from = has_body && seq_gap ? {1'b0, expected} : '0;
  always_comb begin
    {w3, w4, w5, w6, w7} = '0;
    record = RECORD_REFUSED;
    if (refused) begin
      w3 = {8'd0, reason, instrument, account};
      w4 = {48'd0, template_id};
    end else if (is_new) begin
      record = RECORD_NEW_ORDER;
      {w7, w6, w5, w4, w3} = {b[6][31:0], b[5][63:32], account, ticks_q, b[4], b[3], b[2]};
    end else if (is_replace) begin
      record = RECORD_REPLACE;
      {w7, w6, w5, w4, w3} = {40'd0, replace_flags, instrument, account, ticks_q, b[4], b[2], b[1]};
    end else if (is_reduce) begin
      record = RECORD_REDUCE;
      {w6, w5, w4, w3} = {16'd0, instrument, account, b[3], b[2], b[1]};
    end else if (is_cancel) begin
      record = RECORD_CANCEL;
      {w5, w4, w3} = {16'd0, instrument, account, b[2], b[1]};
    end else begin
      record = RECORD_MASS_CANCEL;
      {w4, w3} = {56'd0, mass_group, b[1]};
    end
    descriptor = {
      has_body ? {w7, w6, w5, w4, w3, cl_ord_id, seq_no, rx_time} : 512'd0,
      known_q ? ack_no : 64'd0,
      gap_from,
      {reason, 6'd0, verdict, has_body ? record : 16'd0},
      known_q ? {19'd0, member_here} : 32'd0,
      known_q ? conn_id : 32'd0,
      frame_no
    };
  end
  wire unused = &{1'b0, tag_wide[191:128], instrument_row[511:496], coarse_unused, job_head, b[5][31:0]};
endmodule
`default_nettype wire
