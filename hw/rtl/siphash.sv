// SipHash-2-4 with 128 bits of output: twin of firmware/src/tag.rs. One datagram at a time.
//
// Words come in order into a queue, the last of them marked: it has the bytes that are left and the length
// in its top byte. A round takes ROUND_CYCLES cycles (1 or 2), so a word takes 2 * ROUND_CYCLES, and the end
// 8 * ROUND_CYCLES + 2.
`default_nettype none
module siphash #(
    parameter int ROUND_CYCLES = 1,
    parameter int QUEUE_LG = 8
) (
    input  wire          clk,
    input  wire          rst,
    input  wire          key_valid,
    input  wire  [127:0] key,
    input  wire          push,
    input  wire  [ 63:0] push_data,
    input  wire          push_last,
    output logic         room,
    input  wire          ack,
    output logic         busy,
    output logic         done,
    output logic [127:0] tag
);
  function automatic logic [63:0] rotl(input logic [63:0] x, input int unsigned n);
    rotl = (x << n) | (x >> (64 - n));
  endfunction
  function automatic logic [255:0] half_a(input logic [255:0] s);
    logic [63:0] a, b, c, d;
    {d, c, b, a} = s;
    a = a + b;
    b = rotl(b, 13) ^ a;
    a = rotl(a, 32);
    c = c + d;
    d = rotl(d, 16) ^ c;
    half_a = {d, c, b, a};
  endfunction
  function automatic logic [255:0] half_b(input logic [255:0] s);
    logic [63:0] a, b, c, d;
    {d, c, b, a} = s;
    a = a + d;
    d = rotl(d, 21) ^ a;
    c = c + b;
    b = rotl(b, 17) ^ c;
    c = rotl(c, 32);
    half_b = {d, c, b, a};
  endfunction

  // The queue: a block memory with its read a cycle ahead, so that the head stands in a register.
  logic [64:0] mem[1<<QUEUE_LG];
  logic [QUEUE_LG:0] wr, rd;
  logic [64:0] head;
  logic head_valid, take;
  wire fetch = (wr != rd) && (!head_valid || take);
  wire [QUEUE_LG:0] used = wr - rd;
  assign room = used < (QUEUE_LG + 1)'((1 << QUEUE_LG) - 8);
  always_ff @(posedge clk) begin
    if (push) mem[wr[QUEUE_LG-1:0]] <= {push_last, push_data};
    if (fetch) head <= mem[rd[QUEUE_LG-1:0]];
    if (rst) begin
      wr <= '0;
      rd <= '0;
      head_valid <= 1'b0;
    end else begin
      wr <= wr + (QUEUE_LG + 1)'(push);
      rd <= rd + (QUEUE_LG + 1)'(fetch);
      head_valid <= fetch || (head_valid && !take);
    end
  end

  localparam logic [2:0] IDLE = 3'd0, WAIT = 3'd1, ABSORB = 3'd2, LOW = 3'd3, MIX = 3'd4, HIGH = 3'd5, DONE = 3'd6;
  localparam logic [3:0] ABSORB_END = 4'(2 * ROUND_CYCLES - 1);
  localparam logic [3:0] SQUEEZE_END = 4'(4 * ROUND_CYCLES - 1);
  logic [2:0] state;
  logic [3:0] step;
  logic [63:0] word;
  logic is_last, is_high, was_acked;
  logic [255:0] s, next;
  generate
    if (ROUND_CYCLES == 1) begin : g_one
      assign next = half_b(half_a(s));
    end else begin : g_two
      assign next = step[0] ? half_b(s) : half_a(s);
    end
  endgenerate
  wire absorb_end = state == ABSORB && step == ABSORB_END;
  // The next word's xor rides on the last step of the word before.
  assign take = head_valid && (state == WAIT || (absorb_end && !is_last));
  wire [63:0] folded = s[63:0] ^ s[127:64] ^ s[191:128] ^ s[255:192];
  assign busy = state != IDLE;
  assign done = state == DONE;

  always_ff @(posedge clk) begin
    if (take) begin
      word <= head[63:0];
      is_last <= head[64];
    end
    step <= 4'd0;
    if (ack) was_acked <= 1'b1;
    case (state)
      IDLE: begin
        was_acked <= 1'b0;
        s <= {
          key[127:64] ^ 64'h7465646279746573,
          key[63:0] ^ 64'h6c7967656e657261,
          key[127:64] ^ 64'h646f72616e646f6d ^ 64'hee,
          key[63:0] ^ 64'h736f6d6570736575
        };
        is_high <= 1'b0;
        if (key_valid) state <= WAIT;
      end
      WAIT:
      if (take) begin
        s[255:192] <= s[255:192] ^ head[63:0];
        state <= ABSORB;
      end
      ABSORB: begin
        s <= next;
        step <= step + 4'd1;
        if (absorb_end) begin
          step <= 4'd0;
          s[63:0] <= next[63:0] ^ word;
          if (is_last) begin
            s[191:128] <= next[191:128] ^ 64'hee;
            state <= MIX;
          end else if (take) s[255:192] <= next[255:192] ^ head[63:0];
          else state <= WAIT;
        end
      end
      MIX: begin
        s <= next;
        step <= step + 4'd1;
        if (step == SQUEEZE_END) begin
          step <= 4'd0;
          state <= is_high ? HIGH : LOW;
        end
      end
      LOW: begin
        tag[63:0] <= folded;
        s[127:64] <= s[127:64] ^ 64'hdd;
        is_high <= 1'b1;
        state <= MIX;
      end
      HIGH: begin
        tag[127:64] <= folded;
        state <= DONE;
      end
      default: if (ack || was_acked) state <= IDLE;
    endcase
    if (rst) begin
      state <= IDLE;
      step <= 4'd0;
      was_acked <= 1'b0;
    end
  end
endmodule
`default_nettype wire
