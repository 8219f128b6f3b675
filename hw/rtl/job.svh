// What goes from frame_parse to the gate for each frame, lowest bits first: seven words of the message's block,
// account and instrument, message size and SBE header up to the schema, four words of the datagram's header, the
// length modulo 8 of what the tag covers, three words with the tag in them, faults before, between and behind the
// checksums, whether there is a UDP checksum, whether it is ARP, length of the datagram, time.
// verilator lint_off UNUSEDPARAM
localparam int JOB_BLOCK = 0;
localparam int JOB_ACCOUNT = 448;
localparam int JOB_INSTRUMENT = 480;
localparam int JOB_MESSAGE = 496;
localparam int JOB_P0 = 560;
localparam int JOB_P1 = 624;
localparam int JOB_P2 = 688;
localparam int JOB_P3 = 752;
localparam int JOB_TAG_SHIFT = 816;
localparam int JOB_TAG = 819;
localparam int JOB_FAULT_A = 1011;
localparam int JOB_FAULT_B = 1017;
localparam int JOB_FAULT_C = 1023;
localparam int JOB_HAS_SUM = 1029;
localparam int JOB_IS_ARP = 1030;
localparam int JOB_LENGTH = 1031;
localparam int JOB_TIME = 1047;
// verilator lint_on UNUSEDPARAM
// 1111 bits in all.
