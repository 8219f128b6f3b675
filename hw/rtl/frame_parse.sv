// Ethernet, VLAN, ARP, IPv4 and UDP: twin of firmware/src/wire/frame.rs. It takes a word each cycle.
//
// The words of a frame are moved so that the datagram starts at a word: word 1 ends with the first four bytes of
// the IPv4 header, words 2 and 3 have the rest of it, word 4 the UDP header, and from word 5 on it is the payload.
// For each frame one job leaves (job.svh), and four cycles after it the answers of both checksums.
`default_nettype none
module frame_parse #(
    parameter int LANE_LG = 2,
    parameter int JOB_BITS = 1111
) (
    input  wire                clk,
    input  wire                rst,
    input  wire  [       63:0] time_ns,
    // Who we are.
    input  wire  [       47:0] mac,
    input  wire                has_vlan,
    input  wire  [       11:0] vlan,
    input  wire  [       31:0] ip,
    input  wire  [       15:0] port,
    // Words of a frame, first byte in the low bits; `keep` counts only with the last.
    input  wire  [       63:0] data,
    input  wire  [        7:0] keep,
    input  wire                last,
    input  wire                valid,
    output logic               ready,
    // Whether a frame may begin, and whether its payload may go on.
    input  wire                may_start,
    input  wire                may_go_on,
    output logic               starts,
    output logic               in_frame,
    // To the tag's lanes.
    output logic [LANE_LG-1:0] lane,
    output logic               key_request,
    output logic [       31:0] key_conn_id,
    output logic               hash_push,
    output logic [       63:0] hash_data,
    output logic               hash_last,
    // The frame's job; see `job` for the fields.
    output logic               job_push,
    output logic [JOB_BITS-1:0] job,
    output logic               sums_push,
    output logic [        1:0] sums
);
  `include "deltabox.svh"
  `include "job.svh"

  function automatic logic [15:0] be16(input logic [15:0] x);
    be16 = {x[7:0], x[15:8]};
  endfunction
  function automatic logic [63:0] keep_bytes(input logic [63:0] x, input logic [3:0] count);
    logic [63:0] y;
    for (int i = 0; i < 8; i++) y[8*i+:8] = 4'(i) < count ? x[8*i+:8] : 8'd0;
    keep_bytes = y;
  endfunction

  // ---- Words moved to their place. The word with a frame's end comes while the next frame's first word is taken.
  logic [63:0] prev;
  logic [47:0] dst;
  logic [63:0] began;
  logic [15:0] bytes;
  logic [11:0] beat;
  logic flush;
  logic a_valid, a_last;
  logic [11:0] a_idx;
  logic [63:0] a_data, a_time;
  logic [47:0] a_dst;
  logic [15:0] a_bytes;
  logic [3:0] kept;
  always_comb begin
    kept = 4'd8;
    if (last) begin
      kept = 4'd0;
      for (int i = 0; i < 8; i++) kept = kept + 4'(keep[i]);
    end
  end
  assign ready = in_frame ? may_go_on : may_start;
  wire accept = valid && ready;
  assign starts = accept && !in_frame;
  wire [63:0] masked = keep_bytes(data, kept);
  wire emit = (accept && in_frame) || flush;
  wire [63:0] cur = flush ? 64'd0 : masked;
  always_ff @(posedge clk) begin
    a_valid <= emit;
    a_last <= flush;
    a_idx <= flush ? beat : beat - 12'd1;
    a_data <= has_vlan ? {cur[47:0], prev[63:48]} : {cur[15:0], prev[63:16]};
    a_dst <= dst;
    a_time <= began;
    a_bytes <= bytes;
    flush <= accept && last;
    if (accept) begin
      prev <= masked;
      in_frame <= !last;
      // A long frame's words all count as the last of the range: nothing looks at them.
      beat <= !in_frame ? (last ? 12'd0 : 12'd1) : (last || beat == 12'hfff) ? beat : beat + 12'd1;
      if (!in_frame) begin
        dst <= masked[47:0];
        began <= time_ns;
      end
      if (!in_frame) bytes <= {12'd0, kept};
      else if (bytes < 16'hfff0) bytes <= bytes + {12'd0, kept};
    end
    if (rst) begin
      in_frame <= 1'b0;
      flush <= 1'b0;
      a_valid <= 1'b0;
      a_last <= 1'b0;
    end
  end

  // ---- What the headers say.
  logic outer_vlan;
  logic [11:0] tci;
  logic [15:0] ether_type, total, frag, dport, udp_len;
  logic [7:0] version_ihl, ttl, proto;
  logic [31:0] src, ip_dst;
  logic has_sum;
  logic [63:0] arp1;
  logic [63:0] p0, p1, p2, p3;
  logic [63:0] m[9];
  logic b_last;
  logic [63:0] b_time;
  logic [47:0] b_dst;
  logic [15:0] b_bytes;
  always_ff @(posedge clk) begin
    b_last <= a_last && !rst;
    if (a_last) begin
      b_time <= a_time;
      b_dst <= a_dst;
      b_bytes <= a_bytes;
    end
    if (a_valid) begin
      case (a_idx)
        12'd0: outer_vlan <= be16(a_data[63:48]) == TYPE_VLAN;
        12'd1: begin
          tci <= {a_data[3:0], a_data[15:8]};
          ether_type <= be16(a_data[31:16]);
          version_ihl <= a_data[39:32];
          total <= be16(a_data[63:48]);
          arp1[31:0] <= a_data[63:32];
        end
        12'd2: begin
          frag <= be16(a_data[31:16]);
          ttl <= a_data[39:32];
          proto <= a_data[47:40];
          arp1[63:32] <= a_data[31:0];
        end
        12'd3: begin
          src <= a_data[31:0];
          ip_dst <= a_data[63:32];
        end
        12'd4: begin
          dport <= be16(a_data[31:16]);
          udp_len <= be16(a_data[47:32]);
          has_sum <= a_data[63:48] != '0;
        end
        12'd5: p0 <= a_data;
        12'd6: p1 <= a_data;
        12'd7: p2 <= a_data;
        12'd8: p3 <= a_data;
        default: ;
      endcase
      for (int i = 0; i < 9; i++) if (a_idx == 12'(9 + i)) m[i] <= a_data;
    end
  end
  // Of an ARP message only one more byte matters: whether its sender is a group.
  logic arp_group;
  always_ff @(posedge clk) if (a_valid && a_idx == 12'd2) arp_group <= a_data[32];

  // ---- Checksums.
  wire [15:0] body_len = total - 16'd20;
  logic [15:0] body_left;
  wire [3:0] body_here = body_left > 16'd8 ? 4'd8 : body_left[3:0];
  logic [63:0] ip_word, udp_word;
  logic s_valid, s_first, s_last;
  always_ff @(posedge clk) begin
    s_valid <= a_valid && !rst;
    s_first <= a_idx == '0;
    s_last <= a_last;
    case (a_idx)
      12'd1: ip_word <= {a_data[63:32], 32'd0};
      12'd2, 12'd3: ip_word <= a_data;
      default: ip_word <= '0;
    endcase
    case (a_idx)
      12'd0, 12'd1: udp_word <= '0;
      // Protocol and length of the datagram, which are summed with it.
      12'd2: udp_word <= {32'd0, 16'h1100, be16(body_len)};
      12'd3: udp_word <= a_data;
      default: udp_word <= keep_bytes(a_data, body_here);
    endcase
    if (a_valid) begin
      if (a_idx == 12'd3) body_left <= body_len;
      else if (a_idx > 12'd3) body_left <= body_left - {12'd0, body_here};
    end
  end
  logic unused_done;
  ones_sum ip_sum (
      .clk, .rst, .valid(s_valid), .first(s_first), .last(s_last), .data(ip_word),
      .done(sums_push), .ok(sums[0])
  );
  ones_sum udp_sum (
      .clk, .rst, .valid(s_valid), .first(s_first), .last(s_last), .data(udp_word),
      .done(unused_done), .ok(sums[1])
  );

  // ---- The bytes that the tag covers, and the tag.
  wire signed [17:0] covered = $signed({2'b0, total}) - 18'sd44;
  logic signed [17:0] hash_left;
  logic [LANE_LG-1:0] lane_next;
  logic hashed;
  logic [1:0] tag_words;
  logic [63:0] t0, t1, t2;
  wire is_payload = a_idx >= 12'd5;
  wire signed [17:0] hash_now = a_idx <= 12'd5 ? covered : hash_left;
  wire was_hashed = a_idx > 12'd5 && hashed;
  wire ends_here = is_payload && hash_now < 18'sd8;
  wire [63:0] end_word = keep_bytes(a_data, {1'b0, hash_now[2:0]}) | {covered[7:0], 56'd0};
  always_ff @(posedge clk) begin
    hash_push <= a_valid && !was_hashed && (is_payload || a_last) && !rst;
    hash_last <= ends_here || a_last;
    hash_data <= ends_here ? end_word : a_data;
    key_request <= a_valid && (a_idx == 12'd5 || (a_last && a_idx < 12'd5)) && !rst;
    if (a_idx == 12'd5) key_conn_id <= a_data[63:32];
    if (a_valid) begin
      hashed <= was_hashed || (is_payload && (ends_here || a_last));
      hash_left <= hash_now - 18'sd8;
      if (is_payload && ends_here && !was_hashed) begin
        t0 <= a_data;
        tag_words <= 2'd1;
      end else begin
        if (tag_words == 2'd1) t1 <= a_data;
        if (tag_words == 2'd2) t2 <= a_data;
        if (tag_words != 2'd0 && tag_words != 2'd3) tag_words <= tag_words + 2'd1;
      end
    end
    // One cycle behind the words, like all that goes to the lanes.
    if (a_valid && a_last) lane_next <= lane_next + 1'b1;
    lane <= lane_next;
    if (rst) begin
      lane_next <= '0;
      tag_words <= 2'd0;
    end
  end
  // ---- The verdict on the frame, in three parts: what stands before, between and behind the two checksums.
  wire [15:0] link_len = has_vlan ? 16'd18 : 16'd14;
  wire is_short_link = b_bytes < link_len;
  wire [15:0] packet_len = b_bytes - link_len;
  wire is_group = b_dst[0];
  wire is_ours = b_dst == mac;
  wire is_arp = ether_type == TYPE_ARP;
  wire bad_arp = packet_len < 16'd28 || arp1[47:0] != ARP_KINDS || arp_group
      || (arp1[63:48] != 16'h0100 && arp1[63:48] != 16'h0200);
  wire [7:0] src_first = src[7:0];
  logic [5:0] fault_a, fault_b, fault_c;
  function automatic logic [5:0] fault(input logic [4:0] code);
    fault = {1'b1, code};
  endfunction
  always_comb begin
    fault_a = '0;
    if (b_bytes < 16'd14) fault_a = fault(FAULT_RUNT);
    else if (!is_ours && !is_group) fault_a = fault(FAULT_OTHER_MAC);
    else if (!has_vlan && ether_type == TYPE_VLAN) fault_a = fault(FAULT_VLAN);
    else if (has_vlan && !outer_vlan) fault_a = fault(FAULT_VLAN);
    else if (has_vlan && is_short_link) fault_a = fault(FAULT_RUNT);
    else if (has_vlan && (tci != vlan || ether_type == TYPE_VLAN)) fault_a = fault(FAULT_VLAN);
    else if (is_arp) fault_a = bad_arp ? fault(FAULT_ARP) : '0;
    else if (ether_type != TYPE_IPV4) fault_a = fault(FAULT_ETHER_TYPE);
    else if (!is_ours) fault_a = fault(FAULT_GROUP);
    else if (packet_len < 16'd20) fault_a = fault(FAULT_IP_SHORT);
    else if (version_ihl[7:4] != 4'd4) fault_a = fault(FAULT_IP_VERSION);
    else if (version_ihl[3:0] != 4'd5) fault_a = fault(FAULT_IP_HEADER_LENGTH);
    else if (total < 16'd20 || total > packet_len) fault_a = fault(FAULT_IP_LENGTH);

    fault_b = '0;
    if (frag[13:0] != '0) fault_b = fault(FAULT_IP_FRAGMENT);
    else if (ttl == '0) fault_b = fault(FAULT_IP_TTL);
    else if (proto != 8'd17) fault_b = fault(FAULT_IP_PROTOCOL);
    else if (src_first == 8'd0 || src_first == 8'd127 || src_first >= 8'd224)
      fault_b = fault(FAULT_IP_SOURCE);
    else if (body_len < 16'd8) fault_b = fault(FAULT_UDP_SHORT);
    else if (udp_len != body_len) fault_b = fault(FAULT_UDP_LENGTH);

    fault_c = '0;
    if (ip_dst != ip) fault_c = fault(FAULT_IP_DESTINATION);
    else if (dport != port) fault_c = fault(FAULT_UDP_PORT);
  end

  // ---- Where account and instrument stand, which the tables are asked for at once.
  wire [63:0] b[7];
  for (genvar i = 0; i < 7; i++) begin : g_block
    assign b[i] = {m[i+2][15:0], m[i+1][63:16]};
  end
  wire [15:0] template_id = m[0][47:32];
  logic [63:0] named;
  always_comb begin
    case (template_id)
      TEMPLATE_REDUCE: named = b[4];
      TEMPLATE_CANCEL: named = b[3];
      TEMPLATE_MASS_CANCEL: named = b[1];
      default: named = b[5];
    endcase
  end
  wire [15:0] schema_version_unused = m[1][15:0];
  wire unused = &{1'b0, schema_version_unused};

  assign job_push = b_last;
  assign job = {
    b_time, body_len - 16'd8, is_arp, has_sum, fault_c, fault_b, fault_a,
    {t2, t1, t0}, covered[2:0], p3, p2, p1, p0, m[0], named[47:0],
    b[6], b[5], b[4], b[3], b[2], b[1], b[0]
  };
endmodule
`default_nettype wire
