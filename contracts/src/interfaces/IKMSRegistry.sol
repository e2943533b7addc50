// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IOperatorCallbacks} from "./IOperatorCallbacks.sol";

/// @title Trust root of one KMS cluster: which application is the KMS, and the hash of its secret
interface IKMSRegistry is IOperatorCallbacks {
    /// What a member anchored last: SHA-256 of a manifest's file, and its time in Unix seconds. All
    /// zero: nothing.
    struct SnapshotAnchor {
        bytes32 manifest;
        uint64 time;
        address member;
    }

    event NovaAppRegistrySet(address indexed registry);
    event KmsAppIdSet(uint256 indexed appId);
    event MasterSecretHashSet(bytes32 indexed hash, address indexed setter);
    event MasterSecretHashReset(address indexed resetter);
    event OperatorAdded(address indexed operator, uint256 indexed appId, uint256 indexed versionId, uint256 instanceId);
    event OperatorRemoved(
        address indexed operator, uint256 indexed appId, uint256 indexed versionId, uint256 instanceId
    );

    event SnapshotAnchored(address indexed member, bytes32 manifest, uint64 time);

    /// The caller is not OWNER.
    error NotOwner();
    /// The caller is not the registry.
    error OnlyNovaAppRegistry();
    /// The registry would be the zero address.
    error InvalidRegistryAddress();
    /// The application id is zero or not kmsAppId.
    error AppIdMismatch();
    /// kmsAppId is set for good.
    error AppIdAlreadySet();
    /// Another hash stands; only a reset by the owner makes way for a new one.
    error MasterSecretHashAlreadySet();
    /// The caller is no eligible instance of the KMS application, or the hash is zero.
    error NotAuthorizedToSetHash();
    /// The caller is no verified instance of the KMS application, or there is no master secret.
    error NotAuthorizedToAnchor();
    /// The time is not after that of the member's last anchor.
    error AnchorTimeNotRising();
    /// The time is more than 300 seconds after the block's.
    error AnchorTimeTooFarAhead();

    /// @notice The owner, fixed at deployment: there is no transfer. Anybody may call.
    // solhint-disable-next-line func-name-mixedcase
    function OWNER() external view returns (address);

    /// @notice The NovaAppRegistry this contract believes. Anybody may call.
    function novaAppRegistry() external view returns (address);

    /// @notice Id of the KMS application; zero until it is set. Anybody may call.
    function kmsAppId() external view returns (uint256);

    /// @notice keccak256 of the cluster's master secret; zero while there is none. Anybody may call.
    function masterSecretHash() external view returns (bytes32);

    /// @notice Points to another registry. Only OWNER. Operators listed so far stay: the old
    /// registry can no longer change them, the new one can.
    /// @param registry address of the registry
    /// @dev Reverts NotOwner, InvalidRegistryAddress (zero).
    function setNovaAppRegistry(address registry) external;

    /// @notice Says, once, which application is the KMS. Only OWNER.
    /// @param appId id of the application
    /// @dev Reverts NotOwner, AppIdAlreadySet, AppIdMismatch (zero).
    function setKmsAppId(uint256 appId) external;

    /// @notice Publishes the hash of the cluster's secret. Only a TEE wallet whose instance, by the
    /// registry, is its own, of kmsAppId, ACTIVE, zkVerified and on an ENROLLED version; a registry
    /// that reverts or has no code knows no such wallet. The first one wins.
    /// @param hash keccak256 of the 32 bytes of the secret, not zero
    /// @dev Reverts MasterSecretHashAlreadySet, NotAuthorizedToSetHash. An answer of the registry
    /// that is not well-formed reverts without data.
    function setMasterSecretHash(bytes32 hash) external;

    /// @notice Clears the hash, in an emergency. Only OWNER.
    /// @dev Reverts NotOwner.
    function resetMasterSecretHash() external;

    /// @notice Says how new the newest sealed snapshot of a node is, so that whoever stores it cannot give
    /// an older one for it. Only a TEE wallet whose instance, by the registry, is its own, of kmsAppId,
    /// ACTIVE, zkVerified and on an ENROLLED or DEPRECATED version, while there is a master secret.
    /// @param manifest SHA-256 of the manifest's file
    /// @param time of the manifest, Unix seconds: above that of the member's last anchor, and at most 300
    /// above the block's
    /// @dev Reverts NotAuthorizedToAnchor, AnchorTimeTooFarAhead, AnchorTimeNotRising.
    function anchorSnapshot(bytes32 manifest, uint64 time) external;

    /// @notice What a member anchored last under the present master secret. It stays when the member is
    /// none any more. Anybody may call.
    /// @param member address of its TEE wallet
    function snapshotAnchor(address member) external view returns (SnapshotAnchor memory);

    /// @notice The anchor with the newest time under the present master secret, of all who were members
    /// when they anchored: it is needed when every member is gone. Anybody may call.
    function newestSnapshotAnchor() external view returns (SnapshotAnchor memory);

    /// @notice Lists a wallet; nothing happens when it is listed. Only the registry.
    /// @inheritdoc IOperatorCallbacks
    /// @dev Reverts OnlyNovaAppRegistry, AppIdMismatch.
    function addOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId) external;

    /// @notice Takes a wallet off the list; nothing happens when it is not on it. Only the registry.
    /// @inheritdoc IOperatorCallbacks
    /// @dev Reverts OnlyNovaAppRegistry, AppIdMismatch.
    function removeOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId) external;

    /// @notice Whether a wallet is listed. Anybody may call. For auditors: nodes look for peers in
    /// the NovaAppRegistry.
    /// @param wallet address of the wallet
    function isOperator(address wallet) external view returns (bool);

    /// @notice How many wallets are listed. Anybody may call.
    function operatorCount() external view returns (uint256);

    /// @notice A listed wallet. Anybody may call. A removal changes the order.
    /// @param index from 0 to operatorCount() - 1
    /// @dev Panics (0x32) beyond.
    function operatorAt(uint256 index) external view returns (address);

    /// @notice All listed wallets, in no order. Anybody may call.
    function getOperators() external view returns (address[] memory);
}
