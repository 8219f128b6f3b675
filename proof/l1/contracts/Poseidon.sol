// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPoseidon} from "./IPoseidon.sol";
import {PoseidonTables} from "./PoseidonTables.sol";

/// @title Poseidon of widths 5 and 17 over the scalar field of BN254
/// @dev The constants (41 kB) lie as code in two contracts, known by the hash of their code; `poseidon.mjs` computes
/// them and tells why the partial rounds may work in the coordinates that they work in here.
contract Poseidon is IPoseidon {
    uint256 private constant R = 21888242871839275222246405745257275088548364400416034343698204186575808495617;
    uint256 private constant BLOCK = 16;
    uint256 private constant WORDS_17 = 1105;
    uint256 private constant WORDS_5 = 185;
    uint256 private constant WORDS_A = 645;
    uint256 private constant PARTIAL_17 = 68;
    uint256 private constant PARTIAL_5 = 60;
    uint256 private constant LEVELS = 8;

    address private immutable TABLE_A;
    address private immutable TABLE_B;

    /// @notice The code at `where` is not the table that it should be.
    error WrongTable(address where);

    constructor(address tableA, address tableB) {
        if (tableA.codehash != PoseidonTables.HASH_A) revert WrongTable(tableA);
        if (tableB.codehash != PoseidonTables.HASH_B) revert WrongTable(tableB);
        (TABLE_A, TABLE_B) = (tableA, tableB);
    }

    /// @inheritdoc IPoseidon
    function hash4(uint256[4] calldata elements) external view returns (uint256) {
        for (uint256 i = 0; i < 4; ++i) check(i, elements[i]);
        uint256 work = table5();
        return hash4At(work, elements[0], elements[1], elements[2], elements[3]);
    }

    /// @inheritdoc IPoseidon
    function longHash(uint256 domain, uint256[] calldata elements) external view returns (uint256 digest) {
        for (uint256 i = 0; i < elements.length; ++i) check(i, elements[i]);
        uint256 work = table17();
        uint256 state = work + 32 * WORDS_17;
        digest = (domain << 32) | elements.length;
        for (uint256 first = 0; first < elements.length; first += BLOCK) {
            uint256 count = elements.length - first < BLOCK ? elements.length - first : BLOCK;
            assembly ("memory-safe") {
                mstore(state, digest)
                calldatacopy(add(state, 0x20), add(elements.offset, mul(first, 0x20)), mul(count, 0x20))
                // Beyond the data of the call there are zeros.
                calldatacopy(add(add(state, 0x20), mul(count, 0x20)), calldatasize(), mul(sub(BLOCK, count), 0x20))
            }
            digest = permute(work, 17, PARTIAL_17);
        }
    }

    /// @inheritdoc IPoseidon
    function merkleRoot(uint256 index, uint256 leaf, uint256[24] calldata siblings) external view returns (uint256) {
        check(0, leaf);
        uint256 work = table5();
        uint256 node = leaf;
        for (uint256 level = 0; level < LEVELS; ++level) {
            uint256 place = (index >> (2 * level)) & 3;
            (uint256 a, uint256 b, uint256 c) =
                (siblings[3 * level], siblings[3 * level + 1], siblings[3 * level + 2]);
            check(3 * level, a);
            check(3 * level + 1, b);
            check(3 * level + 2, c);
            if (place == 0) node = hash4At(work, node, a, b, c);
            else if (place == 1) node = hash4At(work, a, node, b, c);
            else if (place == 2) node = hash4At(work, a, b, node, c);
            else node = hash4At(work, a, b, c, node);
        }
        return node;
    }

    function check(uint256 index, uint256 element) private pure {
        if (element >= R) revert ElementNotInField(index);
    }

    function hash4At(uint256 work, uint256 a, uint256 b, uint256 c, uint256 d) private pure returns (uint256) {
        assembly ("memory-safe") {
            let state := add(work, mul(WORDS_5, 0x20))
            mstore(state, 0)
            mstore(add(state, 0x20), a)
            mstore(add(state, 0x40), b)
            mstore(add(state, 0x60), c)
            mstore(add(state, 0x80), d)
        }
        return permute(work, 5, PARTIAL_5);
    }

    /// @dev The table of width 17 in fresh memory, with room behind it for `permute`.
    function table17() private view returns (uint256 work) {
        (address a, address b) = (TABLE_A, TABLE_B);
        assembly ("memory-safe") {
            work := mload(0x40)
            extcodecopy(a, work, 1, mul(WORDS_A, 0x20))
            extcodecopy(b, add(work, mul(WORDS_A, 0x20)), 1, mul(sub(WORDS_17, WORDS_A), 0x20))
            mstore(0x40, add(work, mul(add(WORDS_17, 128), 0x20)))
        }
    }

    /// @dev The same of width 5.
    function table5() private view returns (uint256 work) {
        address b = TABLE_B;
        assembly ("memory-safe") {
            work := mload(0x40)
            extcodecopy(b, work, add(1, mul(sub(WORDS_17, WORDS_A), 0x20)), mul(WORDS_5, 0x20))
            mstore(0x40, add(work, mul(add(WORDS_5, 128), 0x20)))
        }
    }

    /// @dev Permutes the `t` lanes that lie behind the table at `work`, and returns lane 0. Lanes need not be kept
    /// below R while they are only factors; all that is stored is below R.
    function permute(uint256 work, uint256 t, uint256 partials) private pure returns (uint256 first) {
        assembly ("memory-safe") {
            function fifth(x) -> y {
                y := mulmod(x, x, R)
                y := mulmod(mulmod(y, y, R), x, R)
            }
            // Five products together stay below 2^256.
            function dot4(a, b) -> y {
                y := add(
                    add(mulmod(mload(a), mload(b), R), mulmod(mload(add(a, 0x20)), mload(add(b, 0x20)), R)),
                    add(
                        mulmod(mload(add(a, 0x40)), mload(add(b, 0x40)), R),
                        mulmod(mload(add(a, 0x60)), mload(add(b, 0x60)), R)
                    )
                )
            }
            function dot(a, b, n) -> y {
                y := mod(add(dot4(a, b), mulmod(mload(add(a, 0x80)), mload(add(b, 0x80)), R)), R)
                if eq(n, 17) {
                    y := mod(add(y, dot4(add(a, 0xa0), add(b, 0xa0))), R)
                    y := mod(add(y, dot4(add(a, 0x120), add(b, 0x120))), R)
                    y := mod(add(y, dot4(add(a, 0x1a0), add(b, 0x1a0))), R)
                }
            }
            // to = matrix * from
            function mix(matrix, from, to, n) {
                let row := mul(n, 0x20)
                for { let end := add(to, row) } lt(to, end) { to := add(to, 0x20) } {
                    mstore(to, dot(matrix, from, n))
                    matrix := add(matrix, row)
                }
            }
            function raise(state, constants, n) {
                for { let end := add(state, mul(n, 0x20)) } lt(state, end) { state := add(state, 0x20) } {
                    mstore(state, fifth(add(mload(state), mload(constants))))
                    constants := add(constants, 0x20)
                }
            }
            let row := mul(t, 0x20)
            let square := mul(t, row)
            let constants := add(work, mul(3, square))
            let last := add(constants, mul(8, row))
            let lane0 := add(last, mul(2, row))
            let state := add(lane0, mul(partials, 0x20))
            let other := add(state, row)
            for { let i := 0 } lt(i, 3) { i := add(i, 1) } {
                raise(state, constants, t)
                mix(work, state, other, t)
                let swap := state
                state := other
                other := swap
                constants := add(constants, row)
            }
            raise(state, constants, t)
            mix(add(work, square), state, other, t)
            constants := add(constants, row)
            // The coordinates are a window that moves up one word a round.
            let window := other
            let h := add(last, row)
            for { let end := add(lane0, mul(partials, 0x20)) } lt(lane0, end) { lane0 := add(lane0, 0x20) } {
                let y := mload(window)
                let d := add(fifth(add(y, mload(lane0))), sub(R, y))
                for { let i := 0 } lt(i, row) { i := add(i, 0x20) } {
                    let at := add(window, i)
                    mstore(at, addmod(mload(at), mulmod(d, mload(add(h, i)), R), R))
                }
                mstore(add(window, row), dot(last, window, t))
                window := add(window, 0x20)
            }
            other := add(window, row)
            mix(add(work, mul(2, square)), window, other, t)
            state := other
            other := window
            for { let i := 0 } lt(i, 4) { i := add(i, 1) } {
                raise(state, constants, t)
                mix(work, state, other, t)
                let swap := state
                state := other
                other := swap
                constants := add(constants, row)
            }
            first := mload(state)
        }
    }
}
