// wgpu's browser backend does not know the feature "subgroups": it is added to what wgpu asks of the adapter.

let granted = false;

export function request_subgroups() {
  const prototype = globalThis.GPUAdapter?.prototype;
  if (!prototype) return;
  const { requestDevice } = prototype;
  prototype.requestDevice = async function (descriptor = {}) {
    prototype.requestDevice = requestDevice; // other devices of this thread are not ours
    const wanted = this.features.has("subgroups") ? ["subgroups"] : [];
    const device = await requestDevice.call(this, {
      ...descriptor,
      requiredFeatures: [...new Set([...(descriptor.requiredFeatures ?? []), ...wanted])],
    });
    granted = device.features.has("subgroups");
    return device;
  };
}

export function has_subgroups() {
  return granted;
}

export function has_packed_dot() {
  return navigator.gpu?.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ?? false;
}
