// AXI-Lite: who we are, the tables' rows, and a counter for each verdict and reason. The map is generated:
// deltabox.svh, and the table in README.md.
//
// A write takes effect between two frames: the input is held, those in flight get their verdict, then it is done
// and answered. Counters are read at once.
`default_nettype none
module registers #(
    parameter int SESSIONS_LG = 10,
    parameter int ACCOUNTS_LG = 14
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire  [           11:0] s_awaddr,
    input  wire                    s_awvalid,
    output logic                   s_awready,
    input  wire  [           31:0] s_wdata,
    input  wire  [            3:0] s_wstrb,
    input  wire                    s_wvalid,
    output logic                   s_wready,
    output logic [            1:0] s_bresp,
    output logic                   s_bvalid,
    input  wire                    s_bready,
    input  wire  [           11:0] s_araddr,
    input  wire                    s_arvalid,
    output logic                   s_arready,
    output logic [           31:0] s_rdata,
    output logic [            1:0] s_rresp,
    output logic                   s_rvalid,
    input  wire                    s_rready,
    // The input is held while a write waits; `is_empty` says that no frame is under way.
    output logic                   hold,
    input  wire                    is_empty,
    output logic [           47:0] mac,
    output logic                   has_vlan,
    output logic [           11:0] vlan,
    output logic [           31:0] ip,
    output logic [           15:0] port,
    output logic                   is_overloaded,
    output logic [          511:0] row,
    output logic [SESSIONS_LG-1:0] session_index,
    output logic [ACCOUNTS_LG-1:0] account_index,
    output logic [            7:0] instrument_index,
    output logic                   session_we,
    output logic                   flow_we,
    output logic                   account_we,
    output logic                   instrument_we,
    input  wire                    verdict_valid,
    input  wire  [            1:0] verdict,
    input  wire  [            5:0] reason,
    input  wire                    stalled
);
  `include "deltabox.svh"

  localparam logic [1:0] OKAY = 2'd0, SLVERR = 2'd2;
  logic [31:0] stall_cycles;

  // ---- Writes.
  wire write_waits = s_awvalid && s_wvalid && !s_bvalid;
  assign hold = write_waits;
  wire write = write_waits && is_empty;
  assign s_awready = write;
  assign s_wready = write;
  wire [27:0] index = s_wdata[27:0];
  wire [3:0] table_no = s_wdata[31:28];
  wire is_command = s_awaddr == REG_COMMAND;
  wire is_row = s_awaddr[11:6] == REG_ROW[11:6];
  logic in_range, known;
  always_comb begin
    case (table_no)
      TABLE_SESSION, TABLE_FLOW: in_range = index[27:SESSIONS_LG] == '0;
      TABLE_ACCOUNT: in_range = index[27:ACCOUNTS_LG] == '0;
      TABLE_INSTRUMENT: in_range = index[27:8] == '0;
      default: in_range = 1'b0;
    endcase
    case (s_awaddr)
      REG_CONTROL, REG_MAC_LOW, REG_MAC_HIGH, REG_VLAN, REG_IP, REG_PORT: known = 1'b1;
      REG_COMMAND: known = in_range;
      default: known = is_row && s_awaddr[1:0] == '0;
    endcase
  end
  // Whole words only: half of a limit is none.
  wire takes = write && s_wstrb == '1 && known;
  always_ff @(posedge clk) begin
    if (write) s_bresp <= s_wstrb == '1 && known ? OKAY : SLVERR;
    if (write) s_bvalid <= 1'b1;
    else if (s_bready) s_bvalid <= 1'b0;
    if (takes) begin
      if (is_row) row[32*s_awaddr[5:2]+:32] <= s_wdata;
      case (s_awaddr)
        REG_CONTROL: is_overloaded <= s_wdata[0];
        REG_MAC_LOW: mac[31:0] <= s_wdata;
        REG_MAC_HIGH: mac[47:32] <= s_wdata[15:0];
        REG_VLAN: {has_vlan, vlan} <= {s_wdata[31], s_wdata[11:0]};
        REG_IP: ip <= s_wdata;
        REG_PORT: port <= s_wdata[15:0];
        default: ;
      endcase
    end
    if (rst) begin
      s_bvalid <= 1'b0;
      is_overloaded <= 1'b0;
      mac <= '0;
      {has_vlan, vlan} <= '0;
      ip <= '0;
      port <= '0;
      row <= '0;
    end
  end
  assign session_index = index[SESSIONS_LG-1:0];
  assign account_index = index[ACCOUNTS_LG-1:0];
  assign instrument_index = index[7:0];
  wire commits = takes && is_command;
  assign session_we = commits && table_no == TABLE_SESSION;
  assign flow_we = commits && (table_no == TABLE_FLOW || table_no == TABLE_SESSION);
  assign account_we = commits && table_no == TABLE_ACCOUNT;
  assign instrument_we = commits && table_no == TABLE_INSTRUMENT;

  // ---- Counters: one read, one write each; a verdict comes at most every eighth cycle.
  logic [31:0] counts[256];
  initial for (int i = 0; i < 256; i++) counts[i] = '0;
  logic [31:0] count, read_count;
  logic [7:0] which, which_q;
  logic add_1, add_2;
  assign which = {verdict, reason};
  always_ff @(posedge clk) begin
    if (verdict_valid) which_q <= which;
    add_1 <= verdict_valid && !rst;
    add_2 <= add_1 && !rst;
    count <= counts[which_q];
    if (add_2) counts[which_q] <= count + 32'd1;
    if (rst) stall_cycles <= '0;
    else stall_cycles <= stall_cycles + 32'(stalled);
  end

  // ---- Reads.
  logic read_1, read_2;
  logic [11:0] raddr;
  assign s_arready = !read_1 && !read_2 && !s_rvalid;
  always_ff @(posedge clk) begin
    read_1 <= s_arvalid && s_arready;
    if (s_arvalid && s_arready) raddr <= s_araddr;
    read_2 <= read_1;
    read_count <= counts[raddr[9:2]];
    if (read_2) begin
      s_rvalid <= 1'b1;
      s_rresp <= OKAY;
      case (raddr)
        REG_ID: s_rdata <= ID;
        REG_MAP: s_rdata <= MAP_VERSION;
        REG_CONTROL: s_rdata <= {31'd0, is_overloaded};
        REG_MAC_LOW: s_rdata <= mac[31:0];
        REG_MAC_HIGH: s_rdata <= {16'd0, mac[47:32]};
        REG_VLAN: s_rdata <= {has_vlan, 19'd0, vlan};
        REG_IP: s_rdata <= ip;
        REG_PORT: s_rdata <= {16'd0, port};
        REG_STALL_CYCLES: s_rdata <= stall_cycles;
        default: begin
          s_rdata <= raddr[11:10] == REG_COUNTERS[11:10] ? read_count : '0;
          s_rresp <= raddr[11:10] == REG_COUNTERS[11:10] && raddr[1:0] == '0 ? OKAY : SLVERR;
        end
      endcase
    end else if (s_rready) s_rvalid <= 1'b0;
    if (rst) begin
      read_1 <= 1'b0;
      read_2 <= 1'b0;
      s_rvalid <= 1'b0;
    end
  end
endmodule
`default_nettype wire
