// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IKMSRegistry} from "./interfaces/IKMSRegistry.sol";
import {INovaAppRegistry} from "./interfaces/INovaAppRegistry.sol";
import {AddressSet} from "./lib/AddressSet.sol";

/// @title Trust root of one KMS cluster
/// @notice Not upgradeable, no transfer of ownership. The owner names the registry and, once, the
/// KMS application; verified instances of that application publish the hash of their secret.
contract KMSRegistry is IKMSRegistry {
    using AddressSet for AddressSet.Set;

    /// @inheritdoc IKMSRegistry
    address public immutable OWNER;
    /// @inheritdoc IKMSRegistry
    address public novaAppRegistry;
    /// @inheritdoc IKMSRegistry
    uint256 public kmsAppId;
    /// @inheritdoc IKMSRegistry
    bytes32 public masterSecretHash;

    AddressSet.Set private _operators;

    modifier onlyOwner() {
        if (msg.sender != OWNER) revert NotOwner();
        _;
    }

    /// What the registry says counts for the KMS application alone; there is no application 0.
    modifier onlyRegistryFor(uint256 appId) {
        if (msg.sender != novaAppRegistry) revert OnlyNovaAppRegistry();
        if (appId == 0 || appId != kmsAppId) revert AppIdMismatch();
        _;
    }

    /// @param initialOwner owner for the contract's whole life
    /// @param appRegistry address of the NovaAppRegistry, not zero (InvalidRegistryAddress)
    constructor(address initialOwner, address appRegistry) {
        OWNER = initialOwner;
        _setRegistry(appRegistry);
    }

    /// @inheritdoc IKMSRegistry
    function setNovaAppRegistry(address registry) external onlyOwner {
        _setRegistry(registry);
    }

    /// @inheritdoc IKMSRegistry
    function setKmsAppId(uint256 appId) external onlyOwner {
        if (kmsAppId != 0) revert AppIdAlreadySet();
        if (appId == 0) revert AppIdMismatch();
        kmsAppId = appId;
        emit KmsAppIdSet(appId);
    }

    /// @inheritdoc IKMSRegistry
    function setMasterSecretHash(bytes32 hash) external {
        if (masterSecretHash != 0) revert MasterSecretHashAlreadySet();
        if (hash == 0 || !_maySetHash(msg.sender)) revert NotAuthorizedToSetHash();
        masterSecretHash = hash;
        emit MasterSecretHashSet(hash, msg.sender);
    }

    /// @inheritdoc IKMSRegistry
    function resetMasterSecretHash() external onlyOwner {
        masterSecretHash = 0;
        emit MasterSecretHashReset(msg.sender);
    }

    /// @inheritdoc IKMSRegistry
    function addOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId)
        external
        onlyRegistryFor(appId)
    {
        if (_operators.add(teeWallet)) emit OperatorAdded(teeWallet, appId, versionId, instanceId);
    }

    /// @inheritdoc IKMSRegistry
    function removeOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId)
        external
        onlyRegistryFor(appId)
    {
        if (_operators.remove(teeWallet)) emit OperatorRemoved(teeWallet, appId, versionId, instanceId);
    }

    /// @inheritdoc IKMSRegistry
    function isOperator(address wallet) external view returns (bool) {
        return _operators.contains(wallet);
    }

    /// @inheritdoc IKMSRegistry
    function operatorCount() external view returns (uint256) {
        return _operators.members.length;
    }

    /// @inheritdoc IKMSRegistry
    function operatorAt(uint256 index) external view returns (address) {
        return _operators.members[index];
    }

    /// @inheritdoc IKMSRegistry
    function getOperators() external view returns (address[] memory) {
        return _operators.members;
    }

    function _setRegistry(address registry) private {
        if (registry == address(0)) revert InvalidRegistryAddress();
        novaAppRegistry = registry;
        emit NovaAppRegistrySet(registry);
    }

    /// A call to an address without code would revert here, not in the catch: asked first.
    function _maySetHash(address wallet) private view returns (bool) {
        if (kmsAppId == 0 || novaAppRegistry.code.length == 0) return false;
        try INovaAppRegistry(novaAppRegistry).getInstanceByWallet(wallet) returns (
            INovaAppRegistry.RuntimeInstance memory instance
        ) {
            return instance.id != 0 && instance.teeWalletAddress == wallet && instance.appId == kmsAppId
                && instance.status == INovaAppRegistry.InstanceStatus.ACTIVE && instance.zkVerified
                && _isEnrolled(instance.versionId);
        } catch {
            return false;
        }
    }

    function _isEnrolled(uint256 versionId) private view returns (bool) {
        try INovaAppRegistry(novaAppRegistry).getVersion(kmsAppId, versionId) returns (
            INovaAppRegistry.AppVersion memory version
        ) {
            // An unknown version may come as an all-zero struct, whose status reads ENROLLED.
            return
                version.id == versionId && versionId != 0 && version.status == INovaAppRegistry.VersionStatus.ENROLLED;
        } catch {
            return false;
        }
    }
}
