// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPoseidon} from "../IPoseidon.sol";
import {ISettlement} from "../ISettlement.sol";
import {Words} from "../Words.sol";

/// @title What a leaf and a risk table say
/// @notice A leaf is `owner, nonce, cash, position 0..15, key, mandate, mandate_used, flags`. A table is 16 columns
/// of 5 elements (mark; three of 8 scenario values; one with the last 3 values and, from bit 153 on, the cumulative
/// funding + 2^40 in 41 bits), both fee rates, epoch and index. Signed numbers are field elements, -1 being R - 1.
library Leaf {
    uint256 internal constant ELEMENTS = 23;
    uint256 internal constant INSTRUMENTS = 16;
    uint256 internal constant TABLE_ELEMENTS = 84;
    uint256 private constant OWNER = 0;
    uint256 private constant CASH = 2;
    uint256 private constant POSITIONS = 3;
    uint256 private constant COLUMN = 5;
    uint256 private constant LAST = 4;
    uint256 private constant SCENARIOS = 27;
    uint256 private constant SCENARIO_BITS = 31;
    uint256 private constant FUNDING_AT = 153;
    uint256 private constant FUNDING_BITS = 41;
    int256 private constant FUNDING_OFFSET = 1 << 40;
    int256 private constant SCENARIO_OFFSET = (1 << 30) - 1;
    int256 private constant MARK_MAX = 1 << 30;
    int256 private constant PICO = 1e6;
    uint256 private constant LEAF_DOMAIN = 1;
    uint256 private constant TABLE_DOMAIN = 2;

    /// @notice Reverts unless the opened leaf lies at `account` under `tree`.
    function check(IPoseidon poseidon, uint256 tree, uint32 account, ISettlement.LeafProof calldata proof)
        internal
        view
    {
        uint256[] memory elements = new uint256[](ELEMENTS);
        for (uint256 i = 0; i < ELEMENTS; ++i) elements[i] = proof.leaf[i];
        uint256 leaf = poseidon.longHash(LEAF_DOMAIN, elements);
        if (poseidon.merkleRoot(account, leaf, proof.siblings) != tree) revert ISettlement.NotInState(account);
    }

    /// @notice Digest of a table; that of no table, as before the first batch, is 0.
    function tableDigest(IPoseidon poseidon, uint256[] calldata table) internal view returns (uint256) {
        if (table.length == 0) return 0;
        if (table.length != TABLE_ELEMENTS) revert ISettlement.WrongTable();
        return poseidon.longHash(TABLE_DOMAIN, table);
    }

    function owner(ISettlement.LeafProof calldata proof) internal pure returns (address) {
        return address(uint160(proof.leaf[OWNER]));
    }

    function position(ISettlement.LeafProof calldata proof, uint256 instrument) internal pure returns (int256) {
        return signed(proof.leaf[POSITIONS + instrument]);
    }

    /// @notice Value of a lot less its cumulative funding. A mark beyond the range of scenario values, which the
    /// circuit does not check, counts as the end of that range: it must not stop an exit by an overflow.
    function price(uint256[] calldata table, uint256 instrument) internal pure returns (int64) {
        int256 mark = signed(table[COLUMN * instrument]);
        if (mark > MARK_MAX) mark = MARK_MAX;
        if (mark < -MARK_MAX) mark = -MARK_MAX;
        return int64(mark - funding(table, instrument));
    }

    /// @notice cash + sum of position * price, in pico-units.
    function claimPico(ISettlement.LeafProof calldata proof, int64[16] storage prices)
        internal
        view
        returns (int256 claim)
    {
        claim = signed(proof.leaf[CASH]);
        for (uint256 i = 0; i < INSTRUMENTS; ++i) {
            int256 lots = position(proof, i);
            if (lots != 0) claim += lots * prices[i] * PICO;
        }
    }

    /// @notice Micro-units that the leaf's margin lets go: its equity in the worst scenario.
    function free(ISettlement.LeafProof calldata proof, uint256[] calldata table) internal pure returns (int256) {
        int256 cash = signed(proof.leaf[CASH]);
        int256 whole = cash / PICO;
        if (cash < 0 && cash % PICO != 0) whole -= 1;
        if (isFlat(proof)) return whole;
        if (table.length != TABLE_ELEMENTS) revert ISettlement.WrongTable();
        int256 worst = type(int256).max;
        for (uint256 s = 0; s < SCENARIOS; ++s) {
            int256 sum = 0;
            for (uint256 i = 0; i < INSTRUMENTS; ++i) {
                int256 lots = position(proof, i);
                if (lots != 0) sum += lots * (scenario(table, i, s) - funding(table, i));
            }
            if (sum < worst) worst = sum;
        }
        return whole + worst;
    }

    function isFlat(ISettlement.LeafProof calldata proof) internal pure returns (bool) {
        for (uint256 i = 0; i < INSTRUMENTS; ++i) {
            if (proof.leaf[POSITIONS + i] != 0) return false;
        }
        return true;
    }

    function scenario(uint256[] calldata table, uint256 instrument, uint256 s) private pure returns (int256) {
        uint256 packed = table[COLUMN * instrument + 1 + s / 8] >> (SCENARIO_BITS * (s % 8));
        return int256(packed & ((1 << SCENARIO_BITS) - 1)) - SCENARIO_OFFSET;
    }

    function funding(uint256[] calldata table, uint256 instrument) private pure returns (int256) {
        uint256 packed = table[COLUMN * instrument + LAST] >> FUNDING_AT;
        return int256(packed & ((1 << FUNDING_BITS) - 1)) - FUNDING_OFFSET;
    }

    function signed(uint256 element) internal pure returns (int256) {
        return element > Words.R / 2 ? -int256(Words.R - element) : int256(element);
    }
}
