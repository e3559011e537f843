// wgpu's browser backend knows neither the features below, which are added to what wgpu asks of the adapter, nor the vendor.
const WANTED = ["subgroups", "chromium-experimental-subgroup-matrix"];

let granted = new Set();
let info;

export function watch_request() {
  const prototype = globalThis.GPUAdapter?.prototype;
  if (!prototype) return;
  const { requestDevice } = prototype;
  prototype.requestDevice = async function (descriptor = {}) {
    prototype.requestDevice = requestDevice; // other devices of this thread are not ours
    const wanted = WANTED.filter((feature) => this.features.has(feature));
    const device = await requestDevice.call(this, {
      ...descriptor,
      requiredFeatures: [...new Set([...(descriptor.requiredFeatures ?? []), ...wanted])],
    });
    granted = device.features;
    info = this.info;
    return device;
  };
}

export function has_subgroups() {
  return granted.has("subgroups");
}

export function subgroup_matrix() {
  const { subgroupMinSize: least, subgroupMaxSize: most, subgroupMatrixConfigs: configs } = info ?? {};
  if (!granted.has("chromium-experimental-subgroup-matrix") || !granted.has("shader-f16")) return [];
  // A workgroup is four subgroups, and keeps a matrix of sums of each beside its tiles: 256 invocations and 16 KiB are promised.
  if (least !== most || most > 64) return [];
  const fits = ({ componentType, resultComponentType, M, N, K }) =>
    componentType === "f16" && resultComponentType === "f32" && [M, N, K].every((size) => 32 % size === 0) && N > 1 && M * N <= 256;
  const size = ({ M, N, K }) => M * N * K;
  const largest = [...(configs ?? [])].filter(fits).sort((a, b) => size(b) - size(a))[0];
  return largest ? [largest.M, largest.N, largest.K, most] : [];
}

export function is_arms() {
  return info?.vendor === "arm";
}

export function has_packed_dot() {
  return navigator.gpu?.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ?? false;
}
