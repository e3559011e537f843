// wgpu's browser backend knows neither the feature "subgroups", which is added to what wgpu asks of the adapter, nor the vendor.

let granted = false;
let vendor = "";

export function watch_request() {
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
    vendor = this.info?.vendor ?? "";
    return device;
  };
}

export function has_subgroups() {
  return granted;
}

export function is_arms() {
  return vendor === "arm";
}

export function has_packed_dot() {
  return navigator.gpu?.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ?? false;
}
